"""A data set of 36 tiny images that two optimisation steps can tell apart."""

import numpy as np
import pytest

from components.model.backend import load_keras
from components.params.hyperparameters import Hyperparameters
from components.params.reader import Params
from components.training_set.examples import Balance, Data, Examples


@pytest.fixture(scope="module", autouse=True)
def _tiny_backbone(tiny_backbone: None) -> None:
    """Every training costs the compilation of its network.

    Keras is started first, because its threads cannot be set when a test has used it.
    """
    load_keras()


@pytest.fixture(scope="session")
def data() -> Data:
    return tiny_data()


@pytest.fixture(scope="session")
def hyperparameters(params) -> Hyperparameters:
    return tiny_hyperparameters(params)


def tiny_data() -> Data:
    generator = np.random.default_rng(1)
    labels = np.arange(36, dtype=np.int64) % 3
    images = generator.integers(0, 60, (36, 8, 8, 3), np.uint8)
    images[np.arange(36), :, :, labels] += 150  # a class a colour
    balance = Balance(
        np.bincount(labels[:24]), np.ones(3, np.float32), np.log(np.full(3, 1 / 3, np.float32))
    )
    train, val = Examples(images[:24], labels[:24]), Examples(images[24:], labels[24:])
    names = ("blue", "green", "red")
    rules = {"sixteen_bit": "stretch", "decode": {"alpha": "drop"}}
    return Data(train, val, balance, names, 8, "squash", "36 images", **rules)


def tiny_hyperparameters(params: Params) -> Hyperparameters:
    written = Hyperparameters(model=params.model, train=params.train)
    return written.with_overrides(
        {"model.width": 0.35, "train.batch_size": 12, "train.finetune.epochs": 2, "train.seed": 7}
    )


def without_speed(row: dict) -> dict:
    """Return a reported row as the history has it: without what depends on the machine."""
    return {key: row[key] for key in row if key not in ("images_per_s", "waiting_share")}
