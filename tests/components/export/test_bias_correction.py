"""Weights of 8 bits shift the means of a network; corrected biases move them back."""

from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from components.calibration.averaged_views import add_views
from components.export.bias_correction import corrected_biases, rounding_errors
from components.export.litert_format import read_litert, write_litert_int8
from components.model.backend import load_keras, seeded
from components.model.classifier import Classifier, build_classifier, leaf_layers, predict
from components.params.reader import Params
from tests.families import TRIED

SIZE = 16
SMALL = 0.0035  # of a largest weight of 1, this is less than half a step, and becomes 0


@pytest.fixture
def classifier(params: Params, tiny_backbone: None) -> Classifier:
    """Views of a network, in whose second convolution nearly all weights are rounded to 0."""
    load_keras()
    with seeded(5):
        built = add_views(build_classifier(params.model, ["a", "b", "c"], SIZE, "pad"), "mirrored")
    layer = next(each for each in leaf_layers(built.model) if each.name == "block2_conv")
    (kernel,) = layer.get_weights()
    few = np.full_like(kernel, SMALL)
    few[1, 1, 0] = np.where(np.arange(kernel.shape[3]) % 2, 1.0, -1.0)
    layer.set_weights([few])
    logits = built.model.get_layer("logits")
    logits.set_weights([5 * weights for weights in logits.get_weights()])
    return built


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, SIZE, SIZE, 3), np.uint8)


def features(classifier: Classifier, images: np.ndarray) -> np.ndarray:
    return np.asarray(classifier.backbone(images, training=False)).mean(axis=0)


def round_kernels(classifier: Classifier) -> None:
    """Give the convolutions the weights of an int8 export."""
    for layer in leaf_layers(classifier.model):
        if "conv" in layer.name:
            kernel, *others = layer.get_weights()
            layer.set_weights([kernel + rounding_errors(kernel, depthwise=False), *others])


def test_the_means_of_the_features_stay_where_they_were(
    classifier: Classifier, images: np.ndarray
) -> None:
    exact, before = features(classifier, images), classifier.model.get_weights()
    with corrected_biases(classifier, images):
        round_kernels(classifier)
        corrected = features(classifier, images)
    for found, wanted in zip(classifier.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, wanted)
    round_kernels(classifier)
    shifted = features(classifier, images)
    assert np.abs(shifted - exact).mean() > 10 * np.abs(corrected - exact).mean()


def test_after_an_error_the_classifier_is_as_before(
    classifier: Classifier, images: np.ndarray
) -> None:
    exact = predict(classifier, images)
    with pytest.raises(KeyError), corrected_biases(classifier, images):
        raise KeyError
    np.testing.assert_array_equal(predict(classifier, images), exact)
    assert not any("call" in vars(layer) for layer in leaf_layers(classifier.model))


def test_each_channel_has_steps_of_its_own() -> None:
    kernel = np.random.default_rng(1).normal(size=(3, 3, 4, 5)).astype(np.float32)
    kernel[..., 2] *= 1000
    kernel[..., 4] = 0
    for depthwise, axes in ((False, (0, 1, 2)), (True, (0, 1))):
        step = np.abs(kernel).max(axes, keepdims=True) / 127
        errors = rounding_errors(kernel, depthwise)
        assert (np.abs(errors) <= 0.501 * step).all()
        steps = (kernel + errors)[..., :4] / step[..., :4]
        np.testing.assert_allclose(steps, steps.round(), atol=1e-3)
        assert np.abs(errors[..., :4] / step[..., :4]).max() > 0.4


def test_biases_depthwise_and_grouped_convolutions_are_corrected_too(
    classifier: Classifier, images: np.ndarray
) -> None:
    import keras
    from keras import layers

    pixels = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    hidden = layers.Rescaling(1 / 255)(pixels)
    hidden = layers.Conv2D(8, 3, 2, "same", activation="relu", name="conv")(hidden)
    hidden = layers.Conv2D(8, 3, groups=4, use_bias=False, name="grouped")(hidden)
    hidden = layers.ReLU()(layers.BatchNormalization()(hidden))
    hidden = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(hidden)
    network = keras.Model(pixels, layers.GlobalAveragePooling2D()(layers.ReLU()(hidden)))
    kernels = {}
    for name, axes in (("conv", (0, 1, 2)), ("grouped", (0, 1, 2)), ("depthwise", (0, 1))):
        kernel, *others = network.get_layer(name).get_weights()
        small = np.full_like(kernel, SMALL)
        # The largest weight of each channel. All others are rounded to 0, so each channel shrinks.
        small[(0,) * len(axes)] = 1.0
        network.get_layer(name).set_weights([small, *others])
        kernels[name] = small + rounding_errors(small, name == "depthwise")
    made = replace(classifier, model=network)
    exact = network(images, training=False).numpy()
    means = []
    for correct in (True, False):
        with corrected_biases(made, images) if correct else nullcontext():
            for name, kernel in kernels.items():
                network.get_layer(name).kernel.assign(kernel)
            means.append(np.abs(network(images, training=False).numpy() - exact).mean())
    assert means[1] > 10 * means[0]


@pytest.mark.skipif(find_spec("ai_edge_litert") is None, reason="needs ai-edge-litert")
def test_an_int8_export_has_the_corrected_biases(
    classifier: Classifier, images: np.ndarray, tmp_path: Path
) -> None:
    expected = predict(classifier, images)
    write_litert_int8(classifier, tmp_path / "m.tflite", images)
    exported = read_litert(tmp_path / "m.tflite").predict(images)
    np.testing.assert_allclose(exported.mean(axis=0), expected.mean(axis=0), atol=0.01)


@pytest.mark.slow  # large networks are built
@pytest.mark.parametrize("name", TRIED)
def test_every_family_is_corrected_and_stays_as_it_is(name: str, params: Params) -> None:
    load_keras()
    side = 75 if name in ("xception", "inception_v3", "inception_resnet_v2") else 32
    choice = {"backbone": name, "weights": "none", "width": 1.0}
    built = build_classifier(params.model.model_copy(update=choice), ["a", "b"], side, "squash")
    images = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    before = built.model.get_weights()
    with corrected_biases(built, images):
        changed = built.model.get_weights()
    assert any((found != wanted).any() for found, wanted in zip(changed, before, strict=True))
    for found, wanted in zip(built.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, wanted)
