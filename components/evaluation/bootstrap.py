"""A test split → random resamples of its images → an interval around each score.

Guarantee: the same number of images, number of resamples and seed give the same resamples on every
machine. If the test split has enough images, about 95 of 100 intervals with confidence 0.95 contain
the true score: the score on all images of the same kind. A test checks this.

How: the test split has N images; a resample draws N images from it, with replacement. A resample is
stored as a column that says how often each image was drawn. So the scores on all resamples are
computed by one product of matrices.

Example: three images, of which the classifier gets a and b right and c wrong: accuracy 2/3.

    image   right   resample 1   resample 2   resample 3
    a       yes     1            0            2
    b       yes     1            0            1
    c       no      1            3            0
    accuracy        2/3          0            1

The scores on all resamples are sorted. An interval with confidence 0.95 leaves out the lowest 2.5 %
and the highest 2.5 % of them: of 2,000 scores, 50 at each end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]

# The maximum number of cells (images x resamples) of a block that is in memory: 16 MB as float32.
HELD_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A measured value and the ends of its interval. All three are None if the value is undefined.

    If the value is exactly 0 or 1, low and high may be None (see `score_interval`).
    """

    value: float | None
    low: float | None
    high: float | None


def draw_resamples(images: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield blocks of resamples, float32 [images, R]: how often a resample contains each image.

    A column is one resample; its sum is `images`, since images are drawn with replacement. R is as
    large as HELD_AT_ONCE allows, at least 1. All blocks together have `resamples` columns. The
    counts are integers, so their sums are exact in any order (up to 2**24 images).

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

    value: the score on the test split. draws: float [resamples], the score on each resample. A
    score is NaN if it is undefined: a resample may contain no image of a small class, so the class
    has no recall. Such resamples are left out. If `value` is NaN or no resample is left, `value`,
    `low` and `high` of the result are None.

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
    """Return the interval of a score between 0 and 1, including scores of exactly 0 and 1.

    If the score is exactly 0 or 1, all resamples can have the same score. For example, every
    resample of a test split without a mistake has accuracy 1. Then the bootstrap interval has no
    width and says nothing about the true score, and Wilson's interval (1927) is returned instead.

    value, draws: see `interval`. images: the number of images that the score is a share of; for the
    recall of a class, the number of its images. None if the score is not a share of images, such
    as F1. If `images` is None or 0, Wilson's interval does not exist, and low and high are None.

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
