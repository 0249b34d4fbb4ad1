import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from components.model.backend import load_keras, seeded
from components.model.head import add_head
from components.params.model import UNUSED_HEAD, Model
from components.training.compiled_epochs import compile_epoch
from components.training.losses import cross_entropy
from components.training_set.examples import Examples

STEPS, BATCH, EPOCHS = 3, 4, 2


@pytest.fixture
def examples() -> Examples:
    generator = np.random.default_rng(1)
    inputs = generator.normal(size=(10, 5)).astype(np.float32)
    return Examples(inputs, generator.integers(0, 3, 10))


PLAIN = UNUSED_HEAD | {"dropout": 0.3}
RICH = PLAIN | {"hidden": (6, 4), "batch_norm": True, "l1": 0.01, "l2": 0.1}


def head(params):
    load_keras()
    keras.backend.clear_session()
    card = Model(backbone="compact", width=1.0, weights="none", **params)
    with seeded(1):  # so that no thread that another test has left changes the weights
        features = keras.Input((5,))
        model = keras.Model(features, add_head(features, card, 3))
    rate = keras.optimizers.schedules.CosineDecay(0.1, STEPS * EPOCHS)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.01)
    optimizer.build(model.trainable_variables)
    return model, optimizer


@pytest.mark.parametrize(
    "params",
    [pytest.param(PLAIN, marks=pytest.mark.slow, id="plain"), pytest.param(RICH, id="rich")],
)
def test_the_result_is_that_of_fit_on_the_same_batches(examples: Examples, params) -> None:
    """With hidden layers, their statistics move and their penalties count, as in `fit`."""
    generator = np.random.default_rng(2)
    rows = generator.integers(0, len(examples), (EPOCHS, STEPS, BATCH))
    weights = generator.random(rows.shape).astype(np.float32)
    loss = cross_entropy(0.1)

    model, optimizer = head(params)
    model.compile(optimizer, loss, metrics=["accuracy"])
    batches = (
        (examples.inputs[row], examples.labels[row], weight)
        for row, weight in zip(rows.reshape(-1, BATCH), weights.reshape(-1, BATCH), strict=True)
    )
    fitted = model.fit(batches, epochs=EPOCHS, steps_per_epoch=STEPS, verbose=0, shuffle=False)
    expected = model.get_weights()

    model, optimizer = head(params)
    epoch = compile_epoch(model, optimizer, loss, examples)
    history = np.array([epoch(*each) for each in zip(rows, weights, strict=True)])
    for weight, other in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-6)
    np.testing.assert_allclose(history[:, 0], fitted.history["loss"], rtol=1e-6)
    np.testing.assert_allclose(history[:, 1], fitted.history["accuracy"], rtol=1e-6)
    assert int(optimizer.iterations.numpy()) == STEPS * EPOCHS


@pytest.mark.slow
def test_on_jax_it_is_that_of_fit_too() -> None:
    """A process has one backend, so the test above runs in another process."""
    test = f"{__file__}::test_the_result_is_that_of_fit_on_the_same_batches"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", "", test],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert "2 passed" in done.stdout, done.stdout
