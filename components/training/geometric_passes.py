"""Images and random numbers → turned, moved, sheared and cropped images: passes of geometry.

A test compares each pass with the transform of albumentations that it stands for.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from components.training.passes import Floats, Images, Range

NOTHING: Range = (0.0, 0.0)
SAME: Range = (1.0, 1.0)
TRIES = 10  # of a crop; albumentations tries as often


@dataclass(frozen=True)
class Warp:
    """Flips and an affine map in one pass: HorizontalFlip, VerticalFlip and Affine.

    horizontal, vertical: the probability of a flip from left to right and from top to bottom.
    rotate: the range of the angle in degrees. scale_x, scale_y: the ranges of the factors of the
    width and the height. shift_x, shift_y: the ranges of the shift, as a share of the side.
    """

    horizontal: float = 0.0
    vertical: float = 0.0
    rotate: Range = NOTHING
    scale_x: Range = SAME
    scale_y: Range = SAME
    shift_x: Range = NOTHING
    shift_y: Range = NOTHING
    draws: ClassVar[int] = 7

    def change(self, images: Images, numbers: Floats) -> Images:
        """See `Pass.change`. Points outside of the image get the colour of the nearest edge."""
        if self == Warp(self.horizontal, self.vertical):
            return self._flip(images, numbers)
        return _map(images, self.matrices(numbers, *images.shape[1:3]))

    def _flip(self, images: Images, numbers: Floats) -> Images:
        """Do what the affine map of a flip does, but faster."""
        import cv2

        across, down = numbers[:, 5] < self.horizontal, numbers[:, 6] < self.vertical
        codes = np.where(down, -across.astype(int), 1).tolist()  # 1: across, 0: down, -1: both
        for row in np.flatnonzero(across | down):
            images[row] = cv2.flip(images[row], codes[row])
        return images

    def matrices(self, numbers: Floats, height: int, width: int) -> Floats:
        """Return the affine map of each image, float64 [B, 2, 3]: a pixel → its new position.

        First come the flips, then the scaling, the rotation and the shift. The scaling and the
        rotation leave the centre of the image where it is.
        """
        angle, factor_x, factor_y, share_x, share_y = (
            low + (high - low) * numbers[:, column]
            for column, (low, high) in enumerate(
                (self.rotate, self.scale_x, self.scale_y, self.shift_x, self.shift_y)
            )
        )
        cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        # A flip is a factor of -1: it also leaves the centre of the image where it is.
        factor_x = factor_x * np.where(numbers[:, 5] < self.horizontal, -1, 1)
        factor_y = factor_y * np.where(numbers[:, 6] < self.vertical, -1, 1)
        linear = np.stack([cosine * factor_x, sine * factor_y, -sine * factor_x, cosine * factor_y])
        matrices = np.empty((len(numbers), 2, 3))
        matrices[:, :, :2] = linear.T.reshape(-1, 2, 2)
        centre = np.array([width / 2 - 0.5, height / 2 - 0.5])
        shift = np.trunc(np.stack([share_x * width, share_y * height], axis=1))  # whole pixels
        matrices[:, :, 2] = centre + shift - matrices[:, :, :2] @ centre
        return matrices


@dataclass(frozen=True)
class Shear:
    """A shear around the centre: Affine with nothing else.

    x, y: the ranges of the angles in degrees, along the width and along the height.
    """

    x: Range
    y: Range
    draws: ClassVar[int] = 2

    def change(self, images: Images, numbers: Floats) -> Images:
        """See `Pass.change`. Points outside of the image get the colour of the nearest edge."""
        height, width = images.shape[1:3]
        matrices = np.zeros((len(numbers), 2, 3))
        matrices[:, [0, 1], [0, 1]] = 1
        for column, (low, high) in enumerate((self.x, self.y)):
            angle = low + (high - low) * numbers[:, column]
            # albumentations turns the sign around.
            matrices[:, column, 1 - column] = -np.tan(np.deg2rad(angle))
        centre = np.array([width / 2 - 0.5, height / 2 - 0.5])
        matrices[:, :, 2] = centre - matrices[:, :, :2] @ centre
        return _map(images, matrices)


@dataclass(frozen=True)
class Crop:
    """A random part of the image, resized to the size of the image: RandomResizedCrop.

    scale: the range of its area, as a share of the area of the image. ratio: the range of width /
    height. interpolation: a constant of OpenCV.
    """

    scale: Range
    ratio: Range
    interpolation: int
    draws: ClassVar[int] = 2 * TRIES + 2

    def change(self, images: Images, numbers: Floats) -> Images:
        """See `Pass.change`."""
        import cv2

        height, width = images.shape[1:3]
        changed = np.empty_like(images)
        boxes = self.boxes(numbers, height, width).tolist()
        for image, (top, left, high, wide), target in zip(images, boxes, changed, strict=True):
            part = image[top : top + high, left : left + wide]
            cv2.resize(part, (width, height), target, interpolation=self.interpolation)
        return changed

    def boxes(self, numbers: Floats, height: int, width: int) -> NDArray[np.int64]:
        """Return top, left, height and width of the part of each image, int64 [B, 4].

        The first of ten random parts that fits into the image is taken. If none fits, it is the
        largest part in the middle whose ratio is allowed.
        """
        tries = numbers[:, : 2 * TRIES].reshape(-1, TRIES, 2)
        low, high = np.log(self.ratio)
        ratios = np.exp(low + (high - low) * tries[:, :, 1])
        areas = (self.scale[0] + (self.scale[1] - self.scale[0]) * tries[:, :, 0]) * height * width
        sizes = np.rint(np.stack([np.sqrt(areas / ratios), np.sqrt(areas * ratios)], axis=2))
        fits = ((sizes > 0) & (sizes <= (height, width))).all(axis=2)
        rows, first = np.arange(len(numbers)), fits.argmax(axis=1)
        chosen = sizes[rows, first].astype(np.int64)
        free = np.array([height, width]) - chosen
        corners = ((free + 1) * numbers[:, 2 * TRIES :]).astype(np.int64)
        none = ~fits[rows, first]
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        chosen[none] = min(height, round(width / ratio)), min(width, round(height * ratio))
        corners[none] = (np.array([height, width]) - chosen[none]) // 2
        return np.concatenate([corners, chosen], axis=1)


def _map(images: Images, matrices: Floats) -> Images:
    """Return the images after affine maps, float64 [B, 2, 3]: a pixel → its new position."""
    import cv2

    changed, side = np.empty_like(images), images.shape[2:0:-1]
    for image, matrix, target in zip(images, matrices, changed, strict=True):
        cv2.warpAffine(image, matrix, side, target, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    return changed
