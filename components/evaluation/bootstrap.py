"""A test split → random resamples of its images → an interval for each score.

Guarantee: the same labels, number of resamples and seed give the same resamples on every machine.

Accuracy, recall and precision are shares of images. They get Wilson's interval, which needs no
resamples (see interval.py). The resamples are for the other scores, such as macro F1.

How: the resamples are stratified. A resample contains as many images of each class as the test
split. The images of a class are drawn at random from the test images of this class. The same image
can be drawn more than once. A resample is stored as a column of a matrix. The column says how often
each image was drawn. So most scores can be computed on many resamples at once, by multiplying
matrices.

Example: `a` and `b` are images of the class glass. `c` is the only image of the class metal. The
predictions for `a` and `c` are right. So the balanced accuracy on the test split is 3/4.

    image   class   right   resample 1   resample 2   resample 3
    a       glass   yes     1            0            2
    b       glass   no      1            2            0
    c       metal   yes     1            1            1
    balanced accuracy       3/4          1/2          1
"""

from collections.abc import Iterator

import numpy as np

from components.evaluation.interval import (
    UNDEFINED,
    Floats,
    Interval,
    Ints,
    share_interval,
)

# The seed of the resamples of the stages evaluate and register. It is no param: with another seed
# the same two models could get another verdict, so a user could try seeds until a model is
# promoted. With `train.seed`, the verdict would depend on how the challenger was trained.
SEED = 1

# Resamples are drawn in blocks to save memory. A block is a matrix with a row for each image and a
# column for each resample. A block has at most this number of cells, but at least one column. So
# has the matrix of the scores of each class, which has a row for each class. 4 million cells of the
# type float32 need 16 MB.
HELD_AT_ONCE = 4_000_000
# A variance below this number is a rounding error: the score is the same on all resamples.
NO_VARIANCE = 1e-20


def draw_resamples(labels: Ints, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield all resamples in blocks. A block is a matrix float32 [N, R] with R resamples.

    labels: int [N], the class index of each image of the test split. resamples: the number of
    resamples. seed: the seed of the random numbers.

    A column of a block is one resample. The number in a row of the column says how often the
    resample contains the image of this row. The sum over the images of a class is the number of
    test images of the class. All blocks together have `resamples` columns. R is at least 1, and not
    above HELD_AT_ONCE / N or HELD_AT_ONCE / number of classes if these are above 1.

    float32 represents integers up to 2**24 exactly. So sums of the numbers in a column have no
    rounding error if the test split has at most 2**24 images.

    >>> block = next(draw_resamples(np.array([0, 0, 0, 1]), resamples=4, seed=0))
    >>> block[:3].sum(axis=0), block[3]
    (array([3., 3., 3., 3.], dtype=float32), array([1., 1., 1., 1.], dtype=float32))
    """
    images = len(labels)
    generator = np.random.default_rng(seed)
    by_class = np.argsort(labels, kind="stable")
    support = np.bincount(labels)
    # For each image in the order `by_class`: the number of images of its class, and the position of
    # the first of these images.
    sizes = np.repeat(support, support)
    first = np.repeat(np.cumsum(support) - support, support)
    block = max(1, HELD_AT_ONCE // max(images, len(support)))
    for start in range(0, resamples, block):
        columns = min(block, resamples - start)
        drawn = by_class[first + generator.integers(sizes, size=(columns, images))]
        cells = (drawn + images * np.arange(columns)[:, np.newaxis]).ravel()
        times = np.bincount(cells, minlength=columns * images).reshape(columns, images)
        yield np.ascontiguousarray(times.T, dtype=np.float32)


def whole_sample(images: int) -> Floats:
    """Return a resample that contains each test image once: float32 [images, 1], all ones."""
    return np.ones((images, 1), np.float32)


def percentile_interval(value: float, draws: Floats, confidence: float) -> Interval:
    """Return the percentile bootstrap interval (Efron and Tibshirani, 1993, chapter 13).

    The values on all resamples are sorted. An interval with confidence level 0.95 leaves out the
    lowest 2.5 % and the highest 2.5 % of them.

    value: the difference of two scores on the test split. draws: float [resamples], the same
    difference on each resample. confidence: the confidence level of the interval, between 0 and 1.
    If `value` is NaN, the result is undefined.

    >>> percentile_interval(0.5, np.array([0.25, 0.5, 0.75]), confidence=0.5)
    Interval(value=0.5, low=0.375, high=0.625)
    """
    if np.isnan(value):
        return UNDEFINED
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))


def score_interval(
    value: float, draws: Floats, confidence: float, images: float | None
) -> Interval:
    """Return the interval of a score such as macro F1, which is not a share of images.

    It is Wilson's interval with the effective number of images. This is the number of images for
    which a share with the same value would vary as much as the score varies on the resamples:
    value * (1 - value) / variance (as for surveys with strata: Korn and Graubard, 1998). A
    percentile interval would be too narrow where only a few images are wrong.

    value: the score on the test split. draws: float [resamples], the score on each resample.
    confidence: the confidence level of the interval. images: an upper bound of the effective number
    (see `equal_weight_images`), or None. Without a bound, a score that is the same on all resamples
    has no interval: `low` and `high` of the result are None. A score that is NaN is undefined.

    >>> draws = np.array([0.88, 0.9, 0.92])
    >>> score_interval(0.9, draws, confidence=0.95, images=None) == share_interval(0.9, 225, 0.95)
    True
    """
    if np.isnan(value):
        return UNDEFINED
    variance = float(np.var(draws, ddof=1))
    bounds = [] if images is None else [images]
    if variance > NO_VARIANCE and 0 < value < 1:
        # Rounded, since the last digits of a variance are rounding errors.
        bounds.append(round(float(value) * (1 - float(value)) / variance, 9))
    if not bounds:
        return Interval(float(value), None, None)
    return share_interval(float(value), min(bounds), confidence)


def equal_weight_images(support: Ints) -> float:
    """Return the effective number of images of a mean in which each class has the same weight.

    It is classes**2 / sum(1 / support), over the classes with images. If all classes have the same
    recall, the balanced accuracy varies as much as the share of right images among this number of
    images. Small classes lower the number: a class of 8 images has the same weight as a class of
    200 images.

    support: int [C], the number of test images of each class.

    >>> equal_weight_images(np.array([50, 50])), round(equal_weight_images(np.array([92, 8])), 1)
    (100.0, 29.4)
    """
    present = support[support > 0]
    return float(len(present) ** 2 / (1 / present).sum())
