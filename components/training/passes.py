"""Images and random numbers → changed images: what a pass is, and passes made of other passes.

A pass changes a whole batch by random numbers that were drawn before, some for each image. So an
image is changed the same way in any batch, and on any machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from components.errors import HyperparameterError

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]
Range = tuple[float, float]


class Pass(Protocol):
    """A change of a whole batch."""

    @property
    def draws(self) -> int:
        """Return how many random numbers the pass needs for an image."""
        ...

    def change(self, images: Images, numbers: Floats) -> Images:
        """Return the changed images, uint8 [B, H, W, 3]. The array `images` may be overwritten.

        images: uint8 [B, H, W, 3]. numbers: float64 [B, draws], random numbers from 0 to below 1.
        """
        ...


Passes = tuple[Pass, ...]


def run_passes(passes: Passes, images: Images, numbers: Floats) -> Images:
    """Return the images after all passes, one after the other. See `Pass.change`."""
    start = 0
    for part in passes:
        images = part.change(images, numbers[:, start : start + part.draws])
        start += part.draws
    return images


def count_draws(passes: Passes) -> int:
    """Return how many random numbers the passes need for an image."""
    return sum(part.draws for part in passes)


@dataclass(frozen=True)
class Sometimes:
    """A pass that changes an image with a probability, and otherwise leaves it as it is."""

    part: Pass
    probability: float

    @property
    def draws(self) -> int:
        """See `Pass.draws`."""
        return 1 + self.part.draws

    def change(self, images: Images, numbers: Floats) -> Images:
        """See `Pass.change`."""
        rows = np.flatnonzero(numbers[:, 0] < self.probability)
        if len(rows):
            images[rows] = self.part.change(images[rows], numbers[rows, 1:])
        return images


@dataclass(frozen=True)
class Together:
    """Several passes, one after the other, as one pass: Sequential."""

    passes: Passes

    @property
    def draws(self) -> int:
        """See `Pass.draws`."""
        return count_draws(self.passes)

    def change(self, images: Images, numbers: Floats) -> Images:
        """See `Pass.change`."""
        return run_passes(self.passes, images, numbers)


@dataclass(frozen=True)
class OneOf:
    """One of several options for each image.

    options: the passes of each option. weights: how often each option is drawn, in proportion.
    """

    options: tuple[Passes, ...]
    weights: tuple[float, ...]

    @property
    def draws(self) -> int:
        """See `Pass.draws`."""
        return 1 + max(map(count_draws, self.options))

    def change(self, images: Images, numbers: Floats) -> Images:
        """See `Pass.change`."""
        edges = np.cumsum(self.weights)
        chosen = np.searchsorted(edges / edges[-1], numbers[:, 0], side="right")
        return _change_by_options(self.options, chosen, images, numbers[:, 1:])


@dataclass(frozen=True)
class SomeOf:
    """Several of the options for each image, one after the other: SomeOf and RandomOrder.

    options: the passes of each option; all are drawn equally often. count: how many are drawn.
    replace: whether an option can be drawn twice. sort: whether they are applied in the order of
    `options`, and not in the order in which they were drawn.
    """

    options: tuple[Passes, ...]
    count: int
    replace: bool
    sort: bool

    @property
    def draws(self) -> int:
        """See `Pass.draws`."""
        return self._choices + self.count * self._most

    def change(self, images: Images, numbers: Floats) -> Images:
        """See `Pass.change`."""
        first = numbers[:, : self._choices]
        if self.replace:
            chosen = (first * len(self.options)).astype(int)
        else:
            chosen = np.argsort(first, axis=1)[:, : self.count]
        if self.sort:
            chosen = np.sort(chosen, axis=1)
        for turn in range(self.count):
            start = self._choices + turn * self._most
            part = numbers[:, start : start + self._most]
            images = _change_by_options(self.options, chosen[:, turn], images, part)
        return images

    @property
    def _choices(self) -> int:
        return self.count if self.replace else len(self.options)

    @property
    def _most(self) -> int:
        return max(map(count_draws, self.options))


def _change_by_options(
    options: Sequence[Passes], chosen: NDArray[np.intp], images: Images, numbers: Floats
) -> Images:
    """Return the images, each changed by the option that was chosen for it."""
    for number, passes in enumerate(options):
        rows = np.flatnonzero(chosen == number)
        if len(rows) and passes:
            images[rows] = run_passes(passes, images[rows], numbers[rows])
    return images


@dataclass(frozen=True)
class Single:
    """Any other change of albumentations, image by image.

    transform: an object of albumentations. It gets a new seed for each image. always: True if it
    changes every image, whatever its own probability.
    """

    transform: Any
    always: bool = False
    draws: ClassVar[int] = 1

    def change(self, images: Images, numbers: Floats) -> Images:
        """See `Pass.change`. Raises HyperparameterError if the size or dtype would change."""
        # Without `Compose`, whose own Python code takes longer than most changes.
        for image, number in zip(images, numbers[:, 0], strict=True):
            self.transform.set_random_seed(int(number * 2**31))
            changed = self.transform(image=image, force_apply=self.always)["image"]
            if changed.shape != image.shape or changed.dtype != image.dtype:
                raise HyperparameterError(
                    f"train.augmentation: {type(self.transform).__name__} must keep size and dtype "
                    f"of an image; remove it. Received: {changed.dtype} {changed.shape} from "
                    f"{image.dtype} {image.shape}",
                    "train.augmentation",
                )
            image[:] = changed
        return images
