"""The section `train.augmentation` → a policy: random changes of a batch of training images.

The changes are defined in the language of albumentations. Calling albumentations for each image
takes much longer than the changes themselves: at 28 × 28 pixels its own Python code takes 310 of
360 µs. So the changes that are used most are compiled into passes. A pass changes a whole batch:
its random numbers are drawn at once, and OpenCV is called directly. Flips and an affine map
together are one pass, because one affine map can do all of them. A test compares each pass with
albumentations. Other changes are made by albumentations, image by image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

from components.params.augmentation import AnyAugmentation
from components.training.colour_passes import (
    Colour,
    Erase,
    Jitter,
    Posterize,
    RandomErase,
    Solarize,
)
from components.training.geometric_passes import NOTHING, SAME, Crop, Shear, Warp
from components.training.passes import (
    Floats,
    Images,
    OneOf,
    Pass,
    Passes,
    Single,
    SomeOf,
    Sometimes,
    Together,
    count_draws,
    run_passes,
)
from components.training.transforms import build_transforms


@dataclass(frozen=True)
class Policy:
    """The passes that change a batch, one after the other. A policy can be sent to a process.

    Each image gets random numbers of its own, which no other image of the batch shares.
    """

    passes: Passes

    def change(self, images: Images, generator: np.random.Generator) -> Images:
        """Return the changed images, uint8 [B, H, W, 3]. The array `images` may be overwritten.

        images: uint8 [B, H, W, 3]. generator: the source of the random numbers. Equal images and an
        equal state of the generator give equal results.
        """
        return self.change_by(images, generator.random((len(images), self.draws)))

    def change_by(self, images: Images, numbers: Floats) -> Images:
        """Return the images, changed by given random numbers. See `Pass.change`."""
        return run_passes(self.passes, images, numbers)

    @property
    def draws(self) -> int:
        """Return how many random numbers the policy needs for an image."""
        return count_draws(self.passes)

    @property
    def content(self) -> str:
        """Return a text with all that decides the changes, but the random numbers and our code."""
        import cv2

        versions = f"cv2 {cv2.__version__}, NumPy {np.__version__}"
        return f"{versions}, albumentations {metadata.version('albumentations')}, {self.passes}"


def build_augmentation(augmentation: AnyAugmentation) -> Policy:
    """Return the policy that the section `train.augmentation` of params.yaml describes.

    Raises UserError if a transform or an argument of it cannot be used, see `build_transforms`.
    """
    return compile_policy(build_transforms(augmentation))


def compile_policy(transforms: Sequence[Any]) -> Policy:
    """Turn transforms of albumentations into passes, in the same order.

    transforms: objects of albumentations. Flips that stand directly before an affine map or another
    flip, and the affine map, become one pass.
    """
    passes: list[Pass] = []
    for transform in transforms:
        for compiled in _compile(transform):
            if isinstance(compiled, Warp) and passes and isinstance(passes[-1], Warp):
                merged = _merge(passes[-1], compiled)
                if merged is not None:
                    passes[-1] = merged
                    continue
            passes.append(compiled)
    return Policy(tuple(passes))


def _compile(transform: Any, always: bool = False) -> Passes:
    """Return the passes that do what the transform does: `Single` if no other pass can do it.

    always: True if the transform changes every image, whatever its own probability, as the
    transforms in `OneOf` do.
    """
    import albumentations as A  # noqa: N812 - the usual name of albumentations

    t, kind = transform, type(transform)
    probability = 1.0 if always and t.p else float(t.p)
    if kind is A.HorizontalFlip:
        return (Warp(horizontal=probability),)
    if kind is A.VerticalFlip:
        return (Warp(vertical=probability),)
    if (
        kind is A.CoarseDropout
        and (t.num_holes_range, t.fill) == ((1, 1), 0)
        and max(*t.hole_height_range, *t.hole_width_range) < 1
    ):
        return (Erase(probability, t.hole_height_range, t.hole_width_range),)
    if kind in (A.SomeOf, A.RandomOrder):  # `OneOf` does not change their probability.
        probability = float(t.p)
    if kind is A.NoOp or not probability:
        return ()
    part = _composed(t) or _geometric(t) or _coloured(t) or Single(t, always=t.p < 1)
    return (part,) if probability == 1 else (Sometimes(part, probability),)


def _composed(transform: Any) -> Pass | None:
    """Return the pass of a transform that is made of others, or None."""
    import albumentations as A  # noqa: N812 - the usual name of albumentations

    kind = type(transform)
    if kind is A.OneOf:
        options = tuple(_compile(inner, always=True) for inner in transform.transforms)
        return OneOf(options, tuple(transform.transforms_ps))
    if kind in (A.SomeOf, A.RandomOrder):
        options = tuple(compile_policy([inner]).passes for inner in transform.transforms)
        return SomeOf(options, transform.n, transform.replace, sort=kind is A.SomeOf)
    if kind is A.Sequential:
        return Together(compile_policy(transform.transforms).passes)
    return None


def _geometric(transform: Any) -> Pass | None:
    """Return the pass that moves pixels as the transform does if its probability is 1, or None."""
    import albumentations as A  # noqa: N812 - the usual name of albumentations
    import cv2

    t, kind = transform, type(transform)
    if kind is A.RandomResizedCrop:  # Its size is that of the images.
        return Crop(t.scale, t.ratio, t.interpolation)
    if (
        kind is not A.Affine
        or (t.interpolation, t.border_mode) != (cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
        or t.fit_output
        or t.keep_ratio
        or t.balanced_scale
        or not (t.translate_px is None or set(t.translate_px.values()) <= {0, NOTHING})
    ):
        return None
    scale, shift = t.scale, t.translate_percent or {"x": NOTHING, "y": NOTHING}
    warp = Warp(0.0, 0.0, t.rotate, scale["x"], scale["y"], shift["x"], shift["y"])
    if set(t.shear.values()) == {NOTHING}:
        return warp
    return Shear(t.shear["x"], t.shear["y"]) if warp == Warp() else None


def _coloured(transform: Any) -> Pass | None:
    """Return the pass that changes values as the transform does if its `p` is 1, or None."""
    import albumentations as A  # noqa: N812 - the usual name of albumentations

    t, kind = transform, type(transform)
    if kind is A.ColorJitter and t.hue == NOTHING:
        if t.saturation == SAME:
            return Colour(t.brightness, t.contrast)
        return Jitter(t.brightness, t.contrast, t.saturation)
    if kind is A.Solarize:
        return Solarize(t.threshold_range)
    if kind is A.Posterize and not isinstance(t.num_bits, list):
        return Posterize(t.num_bits)
    if kind is A.Erasing and t.scale[0] > 0 and t.fill in (0, "random"):
        return RandomErase(t.scale, t.ratio, 0 if t.fill == 0 else None)
    return None


def _merge(first: Warp, second: Warp) -> Warp | None:
    """Return one pass for two passes, or None if no single pass does the same.

    A flip can be merged with the pass after it, if this does not flip in the same direction.
    """
    only_flips = Warp(first.horizontal, first.vertical)
    clash = (first.horizontal and second.horizontal) or (first.vertical and second.vertical)
    if first != only_flips or clash:
        return None
    horizontal, vertical = first.horizontal + second.horizontal, first.vertical + second.vertical
    ranges = (second.rotate, second.scale_x, second.scale_y, second.shift_x, second.shift_y)
    return Warp(horizontal, vertical, *ranges)
