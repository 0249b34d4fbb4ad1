"""Colours that are even to the eye, maps over images, and the strongest channels."""

import io

import keras
import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from components.errors import UserError
from components.explanation.pictures import (
    colour_bar_png,
    colours,
    feature_maps,
    overlay,
    overlay_png,
)
from components.model.classifier import build_classifier

LUMA = np.array([0.299, 0.587, 0.114])


def test_the_colours_are_those_of_cividis() -> None:
    values = np.linspace(0, 1, 256)
    expected = 255 * colormaps["cividis"](values)[:, :3]
    assert abs(colours(values) - expected).max() <= 0.04 * 255
    brightness = colours(values) @ LUMA
    assert (np.diff(brightness) > -0.5).all()
    assert brightness[-1] - brightness[0] > 150


def test_the_map_is_over_the_image_and_brighter_where_it_marks() -> None:
    image = np.full((8, 8, 3), (200, 30, 30), np.uint8)
    values = np.zeros((8, 8), np.float32)
    values[2, 5] = 1
    picture = overlay(image, values)
    assert (picture.shape, picture.dtype) == ((8, 8, 3), np.uint8)
    brightest = np.unravel_index((picture @ LUMA).argmax(), (8, 8))
    assert brightest == (2, 5)
    other = image.copy()
    other[0, 0] = 255
    assert (overlay(other, values) != picture).any(axis=-1).sum() == 1
    read = np.asarray(Image.open(io.BytesIO(overlay_png(image, values))))
    np.testing.assert_array_equal(read, picture)


def test_the_bar_has_all_colours() -> None:
    bar = np.asarray(Image.open(io.BytesIO(colour_bar_png(64, 2))))
    np.testing.assert_array_equal(bar[1], colours(np.linspace(0, 1, 64)))


@pytest.mark.usefixtures("tiny_backbone")
def test_the_channels_that_vary_most_are_shown_in_grey(params) -> None:
    classifier = build_classifier(params.model, ("a", "b"), 16, "squash")
    images = np.random.default_rng(1).integers(0, 256, (2, 16, 16, 3), np.uint8)
    layer = classifier.backbone.get_layer("block1_conv")
    kernel = np.random.default_rng(2).normal(size=layer.kernel.shape)
    kernel[..., 0] = 0  # the same everywhere
    kernel[..., 7] *= 50
    layer.kernel.assign(kernel)
    every = np.asarray(keras.Model(classifier.backbone.inputs[0], layer.output)(images))
    for image, found in zip(every, feature_maps(classifier, images, "block1_conv", 3), strict=True):
        assert (found.layer, found.size, found.channels) == ("block1_conv", (7, 7), every.shape[-1])
        assert found.shown[0] == 7
        spread = image.std(axis=(0, 1))
        assert [*found.shown] == np.argsort(-spread)[:3].tolist()
        assert (found.pictures.shape, found.pictures.dtype) == ((3, 7, 7), np.uint8)
        first = image[..., 7]
        scaled = 255 * (first - first.min()) / (first.max() - first.min())
        assert abs(found.pictures[0] - scaled).max() <= 0.51
    whole = feature_maps(classifier, images[:1], "block1_conv", 10_000)[0]
    assert len(whole.pictures) == whole.channels
    assert not whole.pictures[whole.shown.index(0)].any()
    with pytest.raises(UserError, match="nearest names are block1_conv, "):
        feature_maps(classifier, images, "block1_con", 3)
