"""A test split → random resamples of its images → intervals around what was measured on it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]

HELD_AT_ONCE = 4_000_000  # draws in memory, 16 MB, whatever the number of images and resamples


@dataclass(frozen=True)
class Interval:
    """A measured value between the ends of its interval; all three null where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


def resampled(images: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield how often each image is drawn, with replacement, into each resample.

    Yields float32 [images, some resamples] until `resamples` columns are out; a column adds up to
    `images`. Whole numbers, so sums over them are exact in any order (up to 2**24 images).
    """
    generator = np.random.default_rng(seed)
    block = max(1, HELD_AT_ONCE // images)
    for start in range(0, resamples, block):
        columns = min(block, resamples - start)
        drawn = generator.integers(images, size=(columns, images))
        cells = (drawn + images * np.arange(columns)[:, np.newaxis]).ravel()
        times = np.bincount(cells, minlength=columns * images).reshape(columns, images)
        yield np.ascontiguousarray(times.T, dtype=np.float32)


def each_once(images: int) -> Floats:
    """Return the sample itself in the form of a resample: float32 [images, 1], all ones."""
    return np.ones((images, 1), np.float32)


def interval(value: float, draws: Floats, confidence: float) -> Interval:
    """Return the percentile bootstrap interval (Efron and Tibshirani, 1993, chapter 13).

    draws: float [resamples], the value on each resample; NaN where it is undefined there, as the
    recall of a small class is on a resample that missed it. Such resamples are left out.
    """
    defined = draws[~np.isnan(draws)]
    if np.isnan(value) or defined.size == 0:
        return Interval(None, None, None)
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))
