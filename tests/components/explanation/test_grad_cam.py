"""Grad-CAM: every backbone has a map, and the map is what the paper defines."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from components.calibration.averaged_views import VIEWS, add_views, places_of_views
from components.errors import UserError
from components.explanation.grad_cam import BATCH, GradCam, Place, enlarge
from components.model.applications import APPLICATIONS
from components.model.backend import load_keras
from components.model.classifier import (
    add_logit_adjustment,
    add_temperature,
    build_classifier,
)
from components.model.model_file import read_classifier, write_classifier
from components.params.model import UNUSED_HEAD, Model
from tests.components.explanation.without_maps import vectors_only
from tests.families import TRIED

NAMES = tuple("abcdefgh")
SIZE = 32
QUICK = ("compact", "mobilenet_v2")
IMAGES = np.random.default_rng(1).integers(0, 256, (BATCH + 2, SIZE, SIZE, 3), np.uint8)
ON_JAX = os.environ.get("KERAS_BACKEND") == "jax"


def build(backbone="compact", size=SIZE, **changes):
    load_keras()
    keras.utils.set_random_seed(1)
    model = Model(backbone=backbone, width=1.0, weights="none", **{**UNUSED_HEAD, **changes})
    return build_classifier(model, NAMES, size, "squash")


def classes_of(classifier, images):
    return np.asarray(classifier.model(images, training=False)).argmax(axis=1)


def maps_and_kernel(classifier, images):
    """Return the last maps of `compact`, and the kernel of the logits, without a gradient."""
    backbone = classifier.backbone
    maps = keras.Model(backbone.inputs[0], backbone.get_layer("last_relu").output)
    return np.asarray(maps(images)), np.asarray(classifier.model.get_layer("logits").kernel)


def scaled(evidence):
    positive = np.maximum(evidence, 0)
    return positive / np.maximum(positive.max(axis=(1, 2), keepdims=True), 1e-9)


@pytest.fixture(scope="module")
def compact():
    return build(size=16)


IMAGES_16 = IMAGES[:, ::2, ::2]


@pytest.mark.parametrize(
    "backbone",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in TRIED],
)
def test_every_backbone_has_a_map_of_the_image(backbone):
    application = APPLICATIONS.get(backbone)
    size = max(64, application.min_size) if application else SIZE
    generator = np.random.default_rng(2)
    images = generator.integers(0, 256, (2, size, size, 3), np.uint8)
    classifier = build(backbone, size)
    grad_cam = GradCam(classifier)
    maps = grad_cam.maps(images, classes_of(classifier, images))
    assert grad_cam.grid[0] * grad_cam.grid[1] > 1
    assert (maps.shape, maps.dtype) == ((2, size, size), np.float32)
    assert np.isfinite(maps).all()
    assert (maps.min() >= 0, maps.max()) == (True, 1.0)
    assert (maps.std(axis=(1, 2)) > 0).all()
    assert not np.array_equal(*maps)


def test_with_a_mean_and_a_linear_head_it_is_the_class_activation_map(compact):
    """Zhou et al. (2016) need no gradient: the maps, weighted by the kernel of the class."""
    maps, kernel = maps_and_kernel(compact, IMAGES_16)
    classes = np.arange(len(IMAGES_16)) % len(NAMES)
    evidence = np.einsum("nhwc,cn->nhw", maps, kernel[:, classes])
    expected = scaled(enlarge(evidence, Place(0, 0, 16), 16))
    np.testing.assert_allclose(GradCam(compact).maps(IMAGES_16, classes), expected, atol=1e-4)


def test_what_comes_after_the_logits_and_the_file_change_no_map(compact, tmp_path):
    full = add_temperature(add_logit_adjustment(compact, range(len(NAMES))), 3.0)
    write_classifier(tmp_path / "m.keras", full)
    read = read_classifier(tmp_path / "m.keras")
    classes = np.arange(len(IMAGES_16)) % len(NAMES)
    expected = GradCam(compact).maps(IMAGES_16, classes)
    np.testing.assert_array_equal(GradCam(read).maps(IMAGES_16, classes), expected)
    alone = [GradCam(full).maps(IMAGES_16[row:][:1], classes[row:][:1]) for row in (0, BATCH + 1)]
    np.testing.assert_allclose(np.concatenate(alone), expected[[0, BATCH + 1]], atol=1e-4)


def test_hidden_layers_of_the_head_are_a_part_of_the_gradient():
    """A hidden ReLU that is off for an image hides its evidence, so the map is empty."""
    classifier = build(size=16, hidden=(4,))
    classes = classes_of(classifier, IMAGES_16[:2])
    assert GradCam(classifier).maps(IMAGES_16[:2], classes).any(axis=(1, 2)).any()
    hidden = classifier.model.get_layer("hidden1")
    hidden.bias.assign(np.full(4, -1e6))
    assert not GradCam(classifier).maps(IMAGES_16[:2], classes).any()


def test_a_prediction_in_between_changes_no_map(compact):
    grad_cam, classes = GradCam(compact), np.zeros(2, int)
    expected = grad_cam.maps(IMAGES_16[:2], classes)
    compact.model.predict(IMAGES_16, verbose=0)
    np.testing.assert_array_equal(grad_cam.maps(IMAGES_16[:2], classes), expected)


def test_dropout_changes_no_map():
    whole, dropped = build(size=16), build(size=16, dropout=0.9)
    dropped.model.set_weights(whole.model.get_weights())
    classes = np.zeros(2, int)
    maps = [GradCam(classifier).maps(IMAGES_16[:2], classes) for classifier in (whole, dropped)]
    np.testing.assert_array_equal(*maps)


def test_a_class_for_which_nothing_speaks_has_an_empty_map(compact):
    _, kernel = maps_and_kernel(compact, IMAGES_16)
    changed = build(size=16)
    changed.model.get_layer("logits").kernel.assign(-np.abs(kernel))
    maps = GradCam(changed).maps(IMAGES_16, np.zeros(len(IMAGES_16), int))
    assert (maps == 0).all()


def test_the_views_are_put_back_to_their_places(compact):
    """The mean over the views of the class activation maps, computed one by one."""
    for views in ("mirrored", "five"):
        classifier = add_views(compact, views)
        network = classifier.model
        made = keras.Model(network.inputs[0], network.get_layer("views").output)
        maps, kernel = maps_and_kernel(compact, np.asarray(made(IMAGES_16)))
        classes = np.arange(len(IMAGES_16)) % len(NAMES)
        weights = kernel[:, np.tile(classes, VIEWS[views])]
        evidence = np.einsum("nhwc,cn->nhw", maps, weights)
        evidence = evidence.reshape(VIEWS[views], len(IMAGES_16), *maps.shape[1:3])
        places = places_of_views(views, 16).values()
        in_image = [
            enlarge(values, place, 16) for values, place in zip(evidence, places, strict=True)
        ]
        found = GradCam(classifier).maps(IMAGES_16, classes)
        assert found.any(axis=(1, 2)).sum() > 2
        np.testing.assert_allclose(found, scaled(np.mean(in_image, axis=0)), atol=1e-3)


def test_a_mirrored_image_has_the_mirrored_map(compact):
    averaged = add_views(compact, "mirrored")
    grad_cam, classes = GradCam(averaged), classes_of(averaged, IMAGES_16[:2])
    maps = grad_cam.maps(IMAGES_16[:2], classes)
    mirrored = grad_cam.maps(IMAGES_16[:2, :, ::-1], classes)
    np.testing.assert_allclose(mirrored, maps[:, :, ::-1], atol=1e-3)
    assert abs(maps - maps[:, :, ::-1]).max() > 0.1


def test_a_view_is_enlarged_within_its_place_only():
    values = np.random.default_rng(3).random((2, 3, 5))
    inside = enlarge(values, Place(0, 0, 14), 14)
    placed = enlarge(values, Place(1, 2, 14), 16)
    np.testing.assert_allclose(placed[:, 1:15, 2:16], inside)
    outside = placed.copy()
    outside[:, 1:15, 2:16] = 0
    assert not outside.any()
    # A constant stays constant, and the values lie between those of the grid.
    np.testing.assert_allclose(enlarge(np.ones((1, 3, 5)), Place(0, 0, 7), 7), 1)


def test_no_image_gives_no_map(compact):
    assert GradCam(compact).maps(IMAGES_16[:0], np.zeros(0, int)).shape == (0, 16, 16)


def test_a_network_without_a_spatial_layer_is_refused_in_one_sentence():
    load_keras()
    with pytest.raises(UserError, match=r"Grad-CAM needs a layer with maps .*Received: backbone"):
        GradCam(vectors_only(NAMES))
    with pytest.raises(UserError, match=r"the layers `backbone` and `logits`.*Received: .*encoder"):
        GradCam(vectors_only(NAMES, "encoder"))


def test_the_maps_explain_the_logit_and_not_its_share(compact):
    """The logits of the other classes change, and with them the probability, but not the map."""
    image = IMAGES_16[:1]
    (best,) = classes_of(compact, image)
    expected = GradCam(compact).maps(image, np.array([best]))
    assert expected.any()
    changed = build(size=16)
    changed.model.set_weights(compact.model.get_weights())
    kernel = np.asarray(changed.model.get_layer("logits").kernel).copy()
    kernel[:, np.arange(len(NAMES)) != best] *= -5
    changed.model.get_layer("logits").kernel.assign(kernel)
    found = GradCam(changed).maps(image, np.array([best]))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(ON_JAX, reason="this test starts the others on JAX")
def test_the_same_holds_on_jax():
    """A process has one backend, so the tests above run in another process."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
