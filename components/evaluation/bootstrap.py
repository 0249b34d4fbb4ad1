"""A test split → random resamples of its images → intervals around what was measured on it.

Guarantee: the same number of images, resamples and seed give the same resamples on every machine.
About 95 of 100 intervals with confidence 0.95 contain the value that the classifier would have on
all images like those of the test split, if it has enough images (a test tries this).

How: a resample draws as many images as there are, with replacement. It is kept as a column that
says how often each image was drawn, so a score on all resamples is one product of matrices.

Example: three images, of which the classifier gets a and b right and c wrong: accuracy 2/3.

    image   right   resample 1   resample 2   resample 3
    a       yes     1            0            2
    b       yes     1            0            1
    c       no      1            3            0
    accuracy        2/3          0            1

With 2,000 resamples the interval goes from the value that 2.5 % of them are below to the value that
2.5 % of them are above.
"""

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
    """A measured value and the ends of its interval; null where they are undefined.

    Only the ends are null if the value is exactly 0 or 1, so that all resamples agree: this says
    nothing about how far off the truth may be.
    """

    value: float | None
    low: float | None
    high: float | None


def draw_resamples(images: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield float32 [images, R]: how often each image is drawn, with replacement, into a resample.

    The blocks have `resamples` columns together; how many a block has depends on the memory that it
    takes. A column adds up to `images`. The counts are whole numbers, so sums over them are exact
    in any order (up to 2**24 images).

    >>> next(draw_resamples(images=3, resamples=4, seed=0)).sum(axis=0)
    array([3., 3., 3., 3.], dtype=float32)
    """
    generator = np.random.default_rng(seed)
    block = max(1, HELD_AT_ONCE // images)
    for start in range(0, resamples, block):
        columns = min(block, resamples - start)
        drawn = generator.integers(images, size=(columns, images))
        cells = (drawn + images * np.arange(columns)[:, np.newaxis]).ravel()
        times = np.bincount(cells, minlength=columns * images).reshape(columns, images)
        yield np.ascontiguousarray(times.T, dtype=np.float32)


def whole_sample(images: int) -> Floats:
    """Return the test split itself in the form of a resample: float32 [images, 1], all ones."""
    return np.ones((images, 1), np.float32)


def interval(value: float, draws: Floats, confidence: float) -> Interval:
    """Return the percentile bootstrap interval (Efron and Tibshirani, 1993, chapter 13).

    draws: float [resamples], the value on each resample. It is NaN where it is undefined, such as
    the recall of a small class on a resample without any of its images; those are left out.

    >>> interval(0.5, np.array([0.25, 0.5, 0.75]), confidence=0.5)
    Interval(value=0.5, low=0.375, high=0.625)
    """
    defined = draws[~np.isnan(draws)]
    if np.isnan(value) or defined.size == 0:
        return Interval(None, None, None)
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))


def score_interval(value: float, draws: Floats, confidence: float, images: int | None) -> Interval:
    """Return the interval of a score from 0 to 1, also where the score is exactly 0 or 1.

    There a bootstrap fails: all resamples of a test split without a mistake agree, so the interval
    has no width. images: how many images the score is a share of, for accuracy, recall and the
    like; Wilson's interval (1927) is used then. None for a score that is no share of images, such
    as F1; its ends are null then.

    >>> score_interval(1.0, np.ones(100), confidence=0.95, images=300).low > 0.98
    True
    """
    by_bootstrap = interval(value, draws, confidence)
    if by_bootstrap.value not in (0.0, 1.0) or by_bootstrap.low != by_bootstrap.high:
        return by_bootstrap
    if not images:
        return Interval(by_bootstrap.value, None, None)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    width = z**2 / (images + z**2)
    return Interval(1.0, 1 - width, 1.0) if by_bootstrap.value else Interval(0.0, 0.0, width)
