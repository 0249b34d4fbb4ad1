"""Every listed backbone: it takes steps in both phases, and its file gives the same output."""

import os
import subprocess
import sys

import numpy as np
import pytest

from components.model.applications import APPLICATIONS
from components.model.backend import load_keras
from components.model.classifier import build_classifier, predict
from components.model.model_file import read_classifier, write_classifier
from components.params.blocks import BLOCKS
from components.params.hyperparameters import Hyperparameters
from components.training.blocks import blocks
from components.training.training import train_classifier
from components.training_set.examples import Balance, Data, Examples
from pipelines.commands.backbones import facts_of

NAMES = ("a", "b")
LARGE = 100_000_000  # bytes of weights; a step of a larger network takes minutes
FAMILIES = {  # one of each; the others of a family have the same layers
    *("compact", "mobilenet", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0"),
    *("efficientnet_v2_b0", "convnext_tiny", "densenet121", "resnet50", "resnet50_v2", "vgg16"),
    *("nasnet_mobile", "xception", "inception_v3", "inception_resnet_v2"),
}
EVERY = ["compact", *APPLICATIONS]


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
            # Gradients of a large network take long to compile; one network of a family is enough.
            "train.finetune.unfreeze": "all" if backbone in FAMILIES else {"last_blocks": 1},
        }
    ), data


def check_facts(backbone, network, parameters):
    """Assert that the lists of backbones and of blocks have the numbers of Keras' network."""
    assert network.count_params() == parameters
    found = blocks(network)
    assert len(found) == BLOCKS[backbone]
    weighted = [layer for block in found for layer in block if layer.weights]
    assert sum(map(len, found)) == len(weighted)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", EVERY)
def test_it_takes_a_step_in_both_phases_and_its_file_gives_the_same_output(
    backbone, params, tmp_path
):
    load_keras()
    hyperparameters, data = parts(backbone, params)
    parameters, _ = facts_of(backbone, 1.0)
    if 4 * parameters > LARGE and not os.environ.get("FOVEA_TEST_FAMILY"):
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
    trained = train_classifier(warm, data, start, lambda row: None, tmp_path)
    assert [row["phase"] for row in trained.history] == ["head", "finetune"]
    write_classifier(tmp_path / "trained.keras", trained.classifier)
    read = read_classifier(tmp_path / "trained.keras")
    after = predict(trained.classifier, data.val.inputs)
    np.testing.assert_array_equal(predict(read, data.val.inputs), after)
    assert np.isfinite(after).all()


@pytest.mark.slow
@pytest.mark.parametrize("backbone", sorted(FAMILIES))
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
            "FOVEA_TEST_FAMILY": "1",
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
        },
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout
