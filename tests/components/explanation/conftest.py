"""A `compact` that has learned scikit-learn's digits, and digits that it has not seen."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.model.backend import load_keras
from components.model.classifier import Classifier
from components.params.hyperparameters import Hyperparameters
from components.params.reader import Params
from components.training.training import train_classifier
from components.training_set.examples import Balance, Data, Examples

CLASSES, SIZE, TRAIN, VAL, TEST = 10, 16, 600, 100, 96


@dataclass(frozen=True)
class Learned:
    """A trained classifier, and the examples of a split that it was trained on or not."""

    classifier: Classifier
    train: Examples
    test: Examples


def digits() -> Examples:
    """Return all digits at 16 pixels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    grey = (found.images * 15.9375).astype(np.uint8)
    large = np.kron(grey, np.ones((1, 2, 2), np.uint8))
    return Examples(large[..., np.newaxis].repeat(3, axis=-1), found.target.astype(np.int64))


def part(examples: Examples, start: int, count: int) -> Examples:
    rows = slice(start, start + count)
    return Examples(examples.inputs[rows], examples.labels[rows])


@pytest.fixture(scope="session")
def learned(params: Params, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """Train for four epochs, which takes four seconds; several tests look at the classifier."""
    load_keras()
    every = digits()
    train, val = part(every, 0, TRAIN), part(every, TRAIN, VAL)
    balance = Balance(
        np.bincount(train.labels),
        np.ones(CLASSES, np.float32),
        np.log(np.full(CLASSES, 1 / CLASSES, np.float32)),
    )
    names = tuple(map(str, range(CLASSES)))
    data = Data(train, val, balance, names, SIZE, "squash", "digits", "high_byte")
    written = Hyperparameters(model=params.model, train=params.train)
    changed: dict[str, Any] = {"model.width": 0.35, "train.finetune.epochs": 4, "train.seed": 1}
    folder: Path = tmp_path_factory.mktemp("features")
    result = train_classifier(written.with_overrides(changed), data, None, lambda row: None, folder)
    return Learned(result.classifier, train, part(every, TRAIN + VAL, TEST))
