"""Maps, images → pictures: a map over its image, and grey pictures of channels.

A map is drawn with the colours of cividis (Nuñez, Anderton and Renslow, 2018), from dark blue to
yellow. Equal steps of a map look like equal steps of brightness, and people who cannot tell red
from green see the same as others.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.explanation.few_images import outputs_of_few
from components.explanation.grad_cam import check_parts
from components.explanation.spatial import maps_of_layer
from components.images.png_writer import encode_png
from components.model.classifier import Classifier

Images = NDArray[np.uint8]
# Every 17th of the 256 colours of cividis in Matplotlib (_cm_listed.py), red, green and blue from 0
# to 1. The colours between them are interpolated; they differ from Matplotlib's by at most 0.04.
COLOURS = (
    (0.000, 0.135, 0.305),
    (0.000, 0.182, 0.422),
    (0.118, 0.226, 0.434),
    (0.209, 0.273, 0.425),
    (0.279, 0.319, 0.423),
    (0.342, 0.365, 0.429),
    (0.401, 0.412, 0.441),
    (0.458, 0.460, 0.460),
    (0.518, 0.508, 0.473),
    (0.582, 0.559, 0.468),
    (0.648, 0.611, 0.455),
    (0.716, 0.664, 0.432),
    (0.786, 0.720, 0.400),
    (0.858, 0.779, 0.353),
    (0.932, 0.840, 0.286),
    (0.996, 0.909, 0.218),
)
OPACITY = 0.6  # of the colours over the image
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: how bright red, green and blue are


@dataclass(frozen=True)
class FeatureMaps:
    """The channels of a layer whose maps of an image vary most.

    layer: the name of the layer. size: (height, width) of its maps. channels: the number of its
    channels. shown: the numbers of the shown channels, from 0, the one that varies most first.
    pictures: uint8 [K, h, w], grey: the lowest value of a channel is black, the highest white.
    """

    layer: str
    size: tuple[int, int]
    channels: int
    shown: tuple[int, ...]
    pictures: Images


def feature_maps(
    classifier: Classifier, images: Images, layer: str, count: int
) -> list[FeatureMaps]:
    """Return the strongest channels of a layer for each image as grey pictures.

    A channel is strong if its values differ much between places (standard deviation): one that is
    the same everywhere says nothing about the image. images: uint8 [N, S, S, 3], few ones. layer:
    the name of a layer with maps, as `fovea model --layers` prints it. count: K.
    Raises UserError if there is no such layer, or if its output is no maps.
    """
    check_parts(classifier)
    network = maps_of_layer(classifier.backbone, layer)
    return [_strongest(maps, layer, count) for maps in outputs_of_few(network, images)]


def _strongest(maps: NDArray[np.float32], layer: str, count: int) -> FeatureMaps:
    """Return the strongest channels of the maps of one image, float32 [h, w, C]."""
    height, width, channels = maps.shape
    order = np.argsort(-maps.std(axis=(0, 1)), kind="stable")[:count]
    chosen = np.moveaxis(maps[..., order], -1, 0)
    low, high = (limit(chosen, axis=(1, 2), keepdims=True) for limit in (np.min, np.max))
    grey = (255 * (chosen - low) / np.where(high > low, high - low, 1)).round().astype(np.uint8)
    return FeatureMaps(layer, (height, width), channels, tuple(order.tolist()), grey)


def colours(values: NDArray[np.floating]) -> Images:
    """Return the colour of each value: float [...] from 0 to 1 → uint8 [..., 3].

    >>> colours(np.array([0.0, 1.0])).tolist()
    [[0, 34, 78], [254, 232, 56]]
    """
    steps = np.linspace(0, 1, len(COLOURS))
    channels = [np.interp(values, steps, channel) for channel in zip(*COLOURS, strict=True)]
    return (255 * np.stack(channels, axis=-1)).round().astype(np.uint8)


def overlay(image: Images, values: NDArray[np.floating]) -> Images:
    """Return an image in grey with the colours of its map over it, uint8 [S, S, 3].

    image: uint8 [S, S, 3]. values: float [S, S], from 0 to 1. The image is grey, so that its own
    colours are not taken for those of the map.
    """
    grey = (image @ np.array(LUMA))[..., np.newaxis]
    mixed: Images = (OPACITY * colours(values) + (1 - OPACITY) * grey).round().astype(np.uint8)
    return mixed


def overlay_png(image: Images, values: NDArray[np.floating]) -> bytes:
    """Return the bytes of a PNG file with the picture that `overlay` returns."""
    return encode_png(overlay(image, values))


def colour_bar_png(width: int = 256, height: int = 8) -> bytes:
    """Return the bytes of a PNG file with all colours, from 0 on the left to 1 on the right."""
    return encode_png(np.tile(colours(np.linspace(0, 1, width)), (height, 1, 1)))
