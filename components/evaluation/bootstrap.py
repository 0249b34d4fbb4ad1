"""A test split → random resamples of its images → intervals around what was measured on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]

HELD_AT_ONCE = 4_000_000  # draws in memory, 16 MB, whatever the number of images and resamples


@dataclass(frozen=True)
class Interval:
    """A measured value between the ends of its interval; null where they are undefined.

    The ends alone are null where no resample differed from a perfect (or hopeless) sample, which
    says nothing about how far the truth may lie from it.
    """

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


def score_interval(value: float, draws: Floats, confidence: float, images: int | None) -> Interval:
    """Return the same for a score from 0 to 1, where a bootstrap fails if it is exactly 0 or 1.

    All resamples of a sample without a mistake agree, and their interval has no width. images: of
    how many images the score is a share, as accuracy and recall are; then Wilson's interval (1927)
    stands in. Without it the score is no share (None), and its ends are null.
    """
    found = interval(value, draws, confidence)
    if found.value not in (0.0, 1.0) or found.low != found.high:
        return found
    if not images:
        return Interval(found.value, None, None)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    width = z**2 / (images + z**2)
    return Interval(1.0, 1 - width, 1.0) if found.value else Interval(0.0, 0.0, width)
