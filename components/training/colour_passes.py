"""Images and random numbers → images of other colours, and with erased parts: passes of colour.

A test compares each pass with the transform of albumentations that it stands for.
"""

from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from components.training.passes import Floats, Images, Range

# The share of red, green and blue in the grey value of a pixel (ITU-R BT.601), as in OpenCV.
GREY = (0.299, 0.587, 0.114)
# OpenCV rounds to the nearest integer, albumentations rounds down. Subtracting this number makes
# OpenCV round down, and leaves integers as they are.
ROUND_DOWN = 0.4999
LEVELS = np.arange(256)


@dataclass(frozen=True)
class Colour:
    """Brightness and contrast, in random order: ColorJitter without saturation and hue.

    brightness, contrast: the ranges of the factors.
    """

    brightness: Range
    contrast: Range
    draws: ClassVar[int] = 3

    def change(self, images: Images, numbers: Floats) -> Images:
        """See `Pass.change`. The contrast is changed around the mean grey value of the image."""
        brightness, contrast = (
            (low + (high - low) * numbers[:, column]).tolist()
            for column, (low, high) in enumerate((self.brightness, self.contrast))
        )
        brightness_first = (numbers[:, 2] < 0.5).tolist()
        for image, bright, strength, first in zip(
            images, brightness, contrast, brightness_first, strict=True
        ):
            if first:
                _scale(image, bright)
            _scale(image, strength, (1 - strength) * _mean_grey(image))
            if not first:
                _scale(image, bright)
        return images


@dataclass(frozen=True)
class Jitter:
    """Brightness, contrast and saturation, in random order: ColorJitter without hue.

    brightness, contrast, saturation: the ranges of the factors.
    """

    brightness: Range
    contrast: Range
    saturation: Range
    draws: ClassVar[int] = 4

    def change(self, images: Images, numbers: Floats) -> Images:
        """See `Pass.change`. The saturation is changed around the grey value of each pixel."""
        factors = [
            (low + (high - low) * numbers[:, column]).tolist()
            for column, (low, high) in enumerate((self.brightness, self.contrast, self.saturation))
        ]
        orders = list(permutations(range(3)))
        chosen = (numbers[:, 3] * len(orders)).astype(int)
        for image, order, *own in zip(images, chosen, *factors, strict=True):
            for change in orders[order]:
                if change == 0:
                    _scale(image, own[0])
                elif change == 1:
                    _scale(image, own[1], (1 - own[1]) * _mean_grey(image))
                else:
                    _saturate(image, own[2])
        return images


@dataclass(frozen=True)
class Solarize:
    """All levels from a threshold up are inverted: Solarize. threshold: its range, 0 to 1."""

    threshold: Range
    draws: ClassVar[int] = 1

    def change(self, images: Images, numbers: Floats) -> Images:
        """See `Pass.change`."""
        low, high = self.threshold
        thresholds = low + (high - low) * numbers
        return _look_up(images, np.where(thresholds * 255 <= LEVELS, 255 - LEVELS, LEVELS))


@dataclass(frozen=True)
class Posterize:
    """Only the upper bits of each level are kept: Posterize. bits: the range of their number."""

    bits: tuple[int, int]
    draws: ClassVar[int] = 1

    def change(self, images: Images, numbers: Floats) -> Images:
        """See `Pass.change`."""
        low, high = self.bits
        bits = low + ((high - low + 1) * numbers).astype(int)
        return _look_up(images, LEVELS & ~(2 ** (8 - bits) - 1))


@dataclass(frozen=True)
class Erase:
    """A black rectangle at a random place: CoarseDropout with one hole.

    probability: the probability that an image gets a rectangle. height, width: the ranges of the
    sides of the rectangle, as shares of the sides of the image.
    """

    probability: float
    height: Range
    width: Range
    draws: ClassVar[int] = 5

    def change(self, images: Images, numbers: Floats) -> Images:
        """See `Pass.change`."""
        sides = np.array(images.shape[1:3])
        low, high = np.array([self.height, self.width]).T
        sizes = (sides * (low + (high - low) * numbers[:, 1:3])).astype(int)
        starts = ((sides - sizes + 1) * numbers[:, 3:5]).astype(int)
        for row in np.flatnonzero(numbers[:, 0] < self.probability):
            (top, left), (bottom, right) = starts[row], starts[row] + sizes[row]
            images[row, top:bottom, left:right] = 0
        return images


@dataclass(frozen=True)
class RandomErase:
    """A rectangle of random pixels at a random place (Zhong et al., 2020): Erasing.

    scale: the range of its area, as a share of the area of the image. ratio: the range of width /
    height. fill: the value of the pixels; None for random ones.
    """

    scale: Range
    ratio: Range
    fill: int | None
    draws: ClassVar[int] = 5

    def change(self, images: Images, numbers: Floats) -> Images:
        """See `Pass.change`."""
        boxes = self.boxes(numbers, *images.shape[1:3]).tolist()
        for image, box, number in zip(images, boxes, numbers[:, 4], strict=True):
            top, left, height, width = box
            hole = image[top : top + height, left : left + width]
            if self.fill is None:
                # The same number always gives the same pixels.
                generator = np.random.default_rng(int(number * 2**53))
                hole[:] = generator.integers(0, 256, hole.shape, np.uint8)
            else:
                hole[:] = self.fill
        return images

    def boxes(self, numbers: Floats, height: int, width: int) -> NDArray[np.int64]:
        """Return top, left, height and width of the rectangles, int64 [B, 4]; 0 if none can fit.

        No area is drawn that would not fit with every ratio of the range.
        """
        sides = np.array([height, width])
        (least, most), (low, high) = np.array(self.scale) * height * width, self.ratio
        most = min(most, low * height**2, width**2 / high)
        areas = least + (most - least) * numbers[:, 0]
        lows, highs = np.maximum(low, areas / height**2), np.minimum(high, width**2 / areas)
        ratios = lows + (highs - lows) * numbers[:, 1]
        sizes = np.rint(np.sqrt(np.stack([areas / ratios, areas * ratios], axis=1))).astype(int)
        sizes[(lows > highs) | (most < least)] = 0
        corners = ((sides - sizes + 1) * numbers[:, 2:4]).astype(int)
        return np.concatenate([corners, sizes], axis=1)


def _scale(image: Images, factor: float, offset: float = 0.0) -> None:
    """Replace each value x by factor * x + offset, rounded down and kept within 0 to 255."""
    import cv2

    cv2.addWeighted(image, factor, image, 0.0, offset - ROUND_DOWN, image)


def _mean_grey(image: Images) -> float:
    import cv2

    means = cv2.mean(image)
    return sum(share * mean for share, mean in zip(GREY, means, strict=False))


def _saturate(image: Images, factor: float) -> None:
    """Replace each pixel by factor * pixel + (1 - factor) * its grey value."""
    import cv2

    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    cv2.addWeighted(image, factor, grey, 1 - factor, 0.0, image)


def _look_up(images: Images, tables: NDArray[np.int64]) -> Images:
    """Replace each level of image i by tables[i, level]. tables: int64 [B, 256]."""
    import cv2

    for image, table in zip(images, tables.astype(np.uint8), strict=True):
        cv2.LUT(image, table, image)
    return images
