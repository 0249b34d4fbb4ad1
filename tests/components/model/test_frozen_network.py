"""The outputs of a frozen network are those of the network, and do not follow later changes."""

import numpy as np
import pytest

from components.model import frozen_network as module
from components.model.backend import PREDICTION_BATCH
from components.model.classifier import build_classifier, outputs
from components.model.frozen_network import compiled_once, frozen_network
from components.params.reader import Params


def test_a_frozen_network_computes_what_the_network_computed_when_it_was_frozen(
    params: Params,
) -> None:
    model = params.model.model_copy(update={"width": 0.25})
    backbone = build_classifier(model, ("a", "b"), 8, "squash").backbone
    generator = np.random.default_rng(1)
    for weight in backbone.weights:  # also the mean and the variance of batch normalisation
        weight.assign(generator.uniform(0.2, 0.5, weight.shape))
    images = generator.integers(0, 256, (PREDICTION_BATCH + 2, 8, 8, 3), np.uint8)
    before = outputs(backbone, images)
    frozen = frozen_network(backbone)
    np.testing.assert_allclose(outputs(backbone, images, frozen), before, rtol=1e-4)
    assert np.ptp(before) > 0
    backbone.set_weights([np.zeros_like(weight) for weight in backbone.get_weights()])
    np.testing.assert_allclose(outputs(backbone, images, frozen), before, rtol=1e-4)


def test_the_place_of_an_image_does_not_change_a_bit_of_its_features(params: Params) -> None:
    backbone = build_classifier(params.model, ("a", "b"), 8, "squash").backbone
    images = np.random.default_rng(1).integers(0, 256, (70, 8, 8, 3), np.uint8)
    frozen = frozen_network(backbone)
    forward, backward = (outputs(backbone, order, frozen) for order in (images, images[::-1]))
    np.testing.assert_array_equal(forward, backward[::-1])


def test_a_network_that_is_compiled_once_takes_any_number_of_images(params: Params) -> None:
    backbone = build_classifier(params.model, ("a", "b"), 8, "squash").backbone
    images = np.random.default_rng(1).integers(0, 256, (7, 8, 8, 3), np.uint8)
    frozen = frozen_network(backbone)
    assert frozen is not None
    once = compiled_once(frozen, 8)
    for count in (1, 2, 7):
        np.testing.assert_allclose(once(images[:count]), frozen(images[:count]), rtol=1e-5)
    assert frozen.experimental_get_tracing_count() == 1  # type: ignore[attr-defined]


def test_on_jax_the_network_itself_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "backend", lambda: "jax")
    assert frozen_network(None) is None
