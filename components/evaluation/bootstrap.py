"""A test split → random resamples of its images → an interval for each score.

Guarantee: the same number of images, number of resamples and seed give the same resamples on every
machine.

Suppose that the test split is a random sample of a very large set of images. The true score of a
classifier is its score on this large set. If many test splits with enough images were drawn, about
95 % of the intervals with confidence level 0.95 would contain the true score. A test checks this
frequency for the accuracy.

How: the test split has N images. A resample contains N images, which are drawn at random from the
test split. The same image can be drawn more than once. A resample is stored as a column of a
matrix. The column says how often each image was drawn. So most scores can be computed on many
resamples at once, by multiplying matrices.

Example: three images. The predictions for `a` and `b` are right, and the prediction for `c` is
wrong. So the accuracy on the test split is 2/3.

    image   right   resample 1   resample 2   resample 3
    a       yes     1            0            2
    b       yes     1            0            1
    c       no      1            3            0
    accuracy        2/3          0            1

The scores on all resamples are sorted. An interval with confidence level 0.95 leaves out the lowest
2.5 % and the highest 2.5 % of the scores. If there are 2,000 scores, these are the 50 lowest scores
and the 50 highest scores.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]

# The seed of the resamples of the stages evaluate and register. It is no param: with another seed
# the same two models could get another verdict, so a user could try seeds until a model is
# promoted. With `train.seed`, the verdict would depend on how the challenger was trained.
SEED = 1

# Resamples are drawn in blocks to save memory. A block is a matrix with a row for each image and a
# column for each resample. A block has at most this number of cells, but at least one column.
# 4 million cells of the type float32 need 16 MB.
HELD_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A measured value, such as a score or the difference of two scores, and its interval.

    value: the value on the test split. low, high: the two ends of the interval. The three fields
    are None if the value is undefined on the test split or on every resample. If the value is
    exactly 0 or 1, `low` and `high` may be None (see `score_interval`).
    """

    value: float | None
    low: float | None
    high: float | None


def draw_resamples(images: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield all resamples in blocks. A block is a matrix float32 [images, R] with R resamples.

    images: the number of images of the test split. resamples: the number of resamples. seed: the
    seed of the random numbers.

    A column of a block is one resample. The number in a row of the column says how often the
    resample contains the image of this row. The sum of a column is `images`, since a resample
    contains this number of images. R is at most HELD_AT_ONCE / images, but at least 1. All blocks
    together have `resamples` columns.

    float32 represents integers up to 2**24 exactly. So sums of the numbers in a column have no
    rounding error if the test split has at most 2**24 images.

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
    """Return a resample that contains each test image once: float32 [images, 1], all ones."""
    return np.ones((images, 1), np.float32)


def interval(value: float, draws: Floats, confidence: float) -> Interval:
    """Return the percentile bootstrap interval (Efron and Tibshirani, 1993, chapter 13).

    value: a score, or the difference of two scores, on the test split. draws: float [resamples],
    the same score or difference on each resample. confidence: the confidence level of the interval,
    between 0 and 1.

    A score is NaN if it is undefined. For example, a resample may contain no image of a small
    class; then the recall of this class is undefined. Scores in `draws` that are NaN are left out.
    If `value` is NaN or all of `draws` are NaN, then `value`, `low` and `high` of the result are
    None.

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
    """Return the interval of a score that is in the range from 0 to 1.

    The result is the bootstrap interval (see `interval`), with one exception. If the score is
    exactly 0 or 1, the score can be the same on all resamples. For example, if all predictions are
    right, every resample has accuracy 1. Then the bootstrap interval has width 0 and says nothing
    about the true score. In this case Wilson's interval (1927) is returned.

    value: the score on the test split. draws: float [resamples], the score on each resample.
    confidence: the confidence level of the interval. images: the denominator of the score, if the
    denominator is a number of images; otherwise None. For example, the denominator of accuracy is
    the number of test images, and the denominator of the recall of a class is the number of test
    images of the class. For F1, `images` is None.

    Wilson's interval needs `images`. If Wilson's interval would be returned, but `images` is None
    or 0, then `low` and `high` of the result are None.

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
