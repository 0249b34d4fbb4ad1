"""Every listed backbone: it takes steps in both phases, and its file gives the same output.

Of each family, one is trained on both backends. `FOVEA_BACKBONES=all make slow` trains the others,
too, which takes ten more minutes; a change of Keras or of the table of backbones needs it.
"""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from components.model import classifier, features
from components.model.applications import APPLICATIONS
from components.model.backend import load_keras
from components.model.classifier import build_classifier, predict
from components.model.model_file import read_classifier, write_classifier
from components.params.blocks import BLOCKS
from components.params.hyperparameters import Hyperparameters
from components.training.blocks import blocks
from components.training.training import train_classifier
from components.training_set.examples import Balance, Data, Examples
from pipelines.commands.backbones import FACTS, facts_of
from tests.families import EVERY, FAMILIES, TRIED

NAMES = ("a", "b")
LARGE = 100_000_000  # bytes of weights; a step of a larger network takes minutes
ON_JAX = os.environ.get("KERAS_BACKEND") == "jax"
# Both tests of a backbone run in one process, and those of other backbones beside them.
EACH = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in EVERY]
EACH_FAMILY = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in FAMILIES]


def parts(backbone, params):
    """Return the params, and 8 images, which have the smallest size of the backbone."""
    size = max(APPLICATIONS[backbone].min_size, 32) if backbone in APPLICATIONS else 8
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (8, size, size, 3), np.uint8)
    labels = np.arange(8) % 2
    balance = Balance(np.full(2, 2), np.ones(2, np.float32), np.log(np.full(2, 0.5, np.float32)))
    train, val = Examples(images[:4], labels[:4]), Examples(images[4:], labels[4:])
    data = Data(train, val, balance, NAMES, size, "squash", "8 images", "high_byte")
    written = Hyperparameters(model=params.model, train=params.train)
    return written.with_overrides(
        {
            "model.backbone": backbone,
            "model.width": 1.0,
            "train.batch_size": 4,
            "train.head.epochs": 1,
            "train.finetune.epochs": 1,
            # Gradients of all layers take long to compile; once for a family is enough.
            "train.finetune.unfreeze": "all"
            if backbone in FAMILIES and not ON_JAX
            else {"last_blocks": 1},
        }
    ), data


def check_facts(backbone, network, parameters):
    """Assert that the tables of backbones and of blocks have the numbers of Keras' network."""
    assert network.count_params() == parameters
    found = blocks(network)
    assert len(found) == BLOCKS[backbone]
    weighted = [layer for block in found for layer in block if layer.weights]
    assert sum(map(len, found)) == len(weighted)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", EACH)
def test_it_takes_a_step_in_both_phases_and_its_file_gives_the_same_output(
    backbone, params, tmp_path, monkeypatch
):
    load_keras()
    for module in (classifier, features):  # A batch of 4 images would be padded to one of 64.
        monkeypatch.setattr(module, "PREDICTION_BATCH", 4)
    hyperparameters, data = parts(backbone, params)
    parameters, multiply_adds = facts_of(backbone, 1.0)
    row = pd.read_csv(FACTS).set_index(["backbone", "width"]).loc[(backbone, 1.0)]
    assert tuple(row) == (parameters, multiply_adds)
    trained = backbone in TRIED and 4 * parameters <= LARGE
    if not trained and not ON_JAX:
        import keras

        with keras.StatelessScope(initialize_variables=False):
            built = build_classifier(hyperparameters.model, NAMES, data.size, "squash")
        assert built.model.output_shape == (None, 2)
        check_facts(backbone, built.backbone, parameters)
        return
    fresh = build_classifier(hyperparameters.model, NAMES, data.size, "squash")
    check_facts(backbone, fresh.backbone, parameters)
    start = tmp_path / "start.keras"
    write_classifier(start, fresh)
    warm = hyperparameters.with_overrides({"model.weights": "data/weights/start.keras"})
    result = train_classifier(warm, data, start, lambda row: None, tmp_path)
    assert [row["phase"] for row in result.history] == ["head", "finetune"]
    write_classifier(tmp_path / "trained.keras", result.classifier)
    read = read_classifier(tmp_path / "trained.keras")
    after = predict(result.classifier, data.val.inputs)
    np.testing.assert_array_equal(predict(read, data.val.inputs), after)
    assert np.isfinite(after).all()


@pytest.mark.slow
@pytest.mark.parametrize("backbone", EACH_FAMILY)
def test_one_of_each_family_does_so_on_jax(backbone):
    """A process has one backend, so the test above runs in another process.

    XLA compiles without optimisation, which takes less time than these few steps gain by it.
    """
    test = test_it_takes_a_step_in_both_phases_and_its_file_gives_the_same_output.__name__
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", "slow",
         f"{__file__}::{test}[{backbone}]"],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
        },
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout
