"""Training images and random numbers → a batch of randomly changed copies of the images.

The changes are defined in the language of albumentations (see `build_augmentation`). Calling
albumentations for each image takes much longer than the changes themselves: at 28 × 28 pixels its
own Python code takes 310 of 360 µs. So the changes that are used most are compiled into passes. A
pass changes a whole batch: its random numbers are drawn at once, and OpenCV is called directly.
Flips and an affine map together are one pass, because one affine map can do all of them. A test
compares each pass with albumentations. Other changes are made by albumentations, image by image.

Only this module imports albumentations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from components.params.train import Augmentation

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]
Range = tuple[float, float]

NOTHING: Range = (0.0, 0.0)
SAME: Range = (1.0, 1.0)
# The share of red, green and blue in the grey value of a pixel (ITU-R BT.601), as in OpenCV.
GREY = (0.299, 0.587, 0.114)
# OpenCV rounds to the nearest integer, albumentations rounds down. Subtracting this number makes
# OpenCV round down, and leaves integers as they are.
ROUND_DOWN = 0.4999


class Pass(Protocol):
    """A change of a whole batch.

    draws: how many random numbers the pass needs for an image.
    """

    draws: ClassVar[int]

    def change(self, images: Images, numbers: Floats) -> Images:
        """Return the changed images, uint8 [B, H, W, 3]. The array `images` may be overwritten.

        images: uint8 [B, H, W, 3]. numbers: float64 [B, draws], random numbers from 0 to below 1.
        """
        ...


Share = tuple[int, int]  # the number of an equal part of a batch, from 0, and the number of parts
ALL: Share = (0, 1)


@dataclass(frozen=True)
class Policy:
    """The passes that change a batch, one after the other. A policy can be sent to a process.

    Each image gets random numbers of its own, which no other image of the batch shares.
    """

    passes: tuple[Pass, ...]

    def change(self, images: Images, generator: np.random.Generator, share: Share = ALL) -> Images:
        """Return the changed images, uint8 [B, H, W, 3]. The array `images` may be overwritten.

        images: uint8 [B, H, W, 3]. generator: the source of the random numbers. Equal images and an
        equal state of the generator give equal results. share: which part of a batch the images
        are; they are changed as they would be among all images of the batch.
        """
        number, parts = share
        numbers = generator.random((len(images) * parts, self.draws))
        return self.change_by(images, np.split(numbers, parts)[number])

    def change_by(self, images: Images, numbers: Floats) -> Images:
        """Return the images, changed by given random numbers. See `Pass.change`."""
        start = 0
        for part in self.passes:
            images = part.change(images, numbers[:, start : start + part.draws])
            start += part.draws
        return images

    @property
    def draws(self) -> int:
        """Return how many random numbers the policy needs for an image."""
        return sum(part.draws for part in self.passes)

    @property
    def content(self) -> str:
        """Return a text with all that decides the changes, but the random numbers and our code."""
        import cv2

        return f"cv2 {cv2.__version__}, NumPy {np.__version__}, {self.passes}"


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
        import cv2

        height, width = images.shape[1:3]
        changed = np.empty_like(images)
        matrices = self.matrices(numbers, height, width)
        for image, matrix, target in zip(images, matrices, changed, strict=True):
            cv2.warpAffine(
                image, matrix, (width, height), target, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
            )
        return changed

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
class Single:
    """Any other change of albumentations, image by image.

    transform: an object of albumentations. It gets a new seed for each image.
    """

    transform: Any
    draws: ClassVar[int] = 1

    def change(self, images: Images, numbers: Floats) -> Images:
        """See `Pass.change`. Raises ValueError if the transform changes the size of an image."""
        import albumentations as A  # noqa: N812 - the usual name of albumentations

        compose = A.Compose([self.transform])
        for image, number in zip(images, numbers[:, 0], strict=True):
            compose.set_random_seed(int(number * 2**31))
            image[:] = compose(image=np.ascontiguousarray(image))["image"]
        return images


def build_augmentation(augmentation: Augmentation) -> Policy:
    """Return the policy that the section `train.augmentation` of params.yaml describes."""
    return compile_policy(build_transforms(augmentation))


def build_transforms(augmentation: Augmentation) -> list[Any]:
    """Return the transforms of albumentations that define the section `train.augmentation`."""
    import albumentations as A  # noqa: N812 - the usual name of albumentations
    import cv2

    changes: list[Any] = []
    if augmentation.horizontal_flip:
        changes.append(A.HorizontalFlip(p=augmentation.horizontal_flip))
    if augmentation.vertical_flip:
        changes.append(A.VerticalFlip(p=augmentation.vertical_flip))
    if augmentation.rotate or augmentation.shift or augmentation.scale:
        changes.append(
            A.Affine(
                rotate=(-augmentation.rotate, augmentation.rotate),
                translate_percent=(-augmentation.shift, augmentation.shift),
                scale=(1 - augmentation.scale, 1 + augmentation.scale),
                border_mode=cv2.BORDER_REPLICATE,
                p=1.0,
            )
        )
    if augmentation.brightness or augmentation.contrast:
        changes.append(
            A.ColorJitter(
                brightness=(1 - augmentation.brightness, 1 + augmentation.brightness),
                contrast=(1 - augmentation.contrast, 1 + augmentation.contrast),
                saturation=SAME,
                hue=NOTHING,
                p=1.0,
            )
        )
    if augmentation.erase:
        changes.append(A.CoarseDropout(num_holes_range=(1, 1), p=augmentation.erase))
    return changes


def compile_policy(transforms: Sequence[Any]) -> Policy:
    """Turn transforms of albumentations into passes, in the same order.

    transforms: objects of albumentations. Flips that stand directly before an affine map or another
    flip, and the affine map, become one pass.
    """
    passes: list[Pass] = []
    for transform in transforms:
        compiled = _compiled(transform)
        if isinstance(compiled, Warp) and passes and isinstance(passes[-1], Warp):
            merged = _merged(passes[-1], compiled)
            if merged is not None:
                passes[-1] = merged
                continue
        passes.append(compiled)
    return Policy(tuple(passes))


def _compiled(transform: Any) -> Pass:
    """Return the pass that does what the transform does: `Single` if no other pass can do it."""
    import albumentations as A  # noqa: N812 - the usual name of albumentations
    import cv2

    t, kind = transform, type(transform)
    if kind is A.HorizontalFlip:
        return Warp(horizontal=t.p)
    if kind is A.VerticalFlip:
        return Warp(vertical=t.p)
    if (
        kind is A.Affine
        and (t.p, t.interpolation, t.border_mode) == (1, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
        and not (t.fit_output or t.keep_ratio or t.balanced_scale)
        and set(t.shear.values()) == {NOTHING}
        and (t.translate_px is None or set(t.translate_px.values()) <= {0, NOTHING})
    ):
        scale, shift = t.scale, t.translate_percent or {"x": NOTHING, "y": NOTHING}
        return Warp(0.0, 0.0, t.rotate, scale["x"], scale["y"], shift["x"], shift["y"])
    if kind is A.ColorJitter and (t.p, t.saturation, t.hue) == (1, SAME, NOTHING):
        return Colour(t.brightness, t.contrast)
    if (
        kind is A.CoarseDropout
        and (t.num_holes_range, t.fill) == ((1, 1), 0)
        and max(*t.hole_height_range, *t.hole_width_range) < 1
    ):
        return Erase(t.p, t.hole_height_range, t.hole_width_range)
    return Single(transform)


def _merged(first: Warp, second: Warp) -> Warp | None:
    """Return one pass for two passes, or None if no single pass does the same.

    A flip can be merged with all that follows, if that does not flip in the same direction.
    """
    only_flips = Warp(first.horizontal, first.vertical)
    clash = (first.horizontal and second.horizontal) or (first.vertical and second.vertical)
    if first != only_flips or clash:
        return None
    horizontal, vertical = first.horizontal + second.horizontal, first.vertical + second.vertical
    ranges = (second.rotate, second.scale_x, second.scale_y, second.shift_x, second.shift_y)
    return Warp(horizontal, vertical, *ranges)


def _scale(image: Images, factor: float, offset: float = 0.0) -> None:
    """Replace each value x by factor * x + offset, rounded down and kept within 0 to 255."""
    import cv2

    cv2.addWeighted(image, factor, image, 0.0, offset - ROUND_DOWN, image)


def _mean_grey(image: Images) -> float:
    import cv2

    means = cv2.mean(image)
    return sum(share * mean for share, mean in zip(GREY, means, strict=False))
