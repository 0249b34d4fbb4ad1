"""Images that one of two models lost and gained → how far the difference can be, and by chance.

Two models are compared on the same images. An image is lost if the old model is right and the new
model is wrong. An image is gained if the new model is right and the old model is wrong. All other
images say nothing about the difference of the two models.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from components.evaluation.bootstrap import HELD_AT_ONCE
from components.evaluation.interval import Bools, Floats, Interval, Ints, normal_quantile

Array = npt.NDArray[Any]
Counts = Array | float
HALVINGS = 45  # the error of a limit is at most 2**-45


def drop_excluded(
    lost: Counts, gained: Counts, images: Counts, drop: Counts, confidence: float
) -> Bools:
    """Return True where the images exclude that the share of right images truly fell by `drop`.

    It is Tango's score test (Statistics in Medicine 17, 1998) of the difference of two shares of
    the same images. The measured drop must be z standard deviations below `drop`.

    lost, gained, images: the numbers of lost, gained and of all images. drop: from -1 to 1. These
    are arrays of the same shape, or numbers. confidence: the confidence level of the two-sided
    interval that the test belongs to.
    """
    z = normal_quantile(confidence)
    lost, gained, images = (np.asarray(count, np.float64) for count in (lost, gained, images))
    below = images * drop - lost + gained
    # The most probable share of gained images, if the true drop is `drop`: Tango's q.
    b = (2 * images - lost + gained) * drop - lost - gained
    under_root = np.maximum(b**2 + 8 * images * gained * drop * (1 - drop), 0)  # no -1e-17
    share = (np.sqrt(under_root) - b) / (4 * images)
    variance = images * (2 * share + drop * (1 - drop))
    return np.asarray((below > 0) & (below**2 >= z**2 * variance))


def drop_limit(lost: Counts, gained: Counts, images: Counts, confidence: float) -> Floats:
    """Return the largest drop of the share of right images that the images do not exclude.

    It is the upper end of Tango's interval (see `drop_excluded`). If no image is lost or gained, it
    is the width of Wilson's interval. The arguments are those of `drop_excluded`. Returns a float
    array with values from -1 to 1.

    Example: 25 images, and none of them lost or gained. A drop above 0.13 is excluded.

    >>> float(drop_limit(0, 0, 25, confidence=0.95).round(2))
    0.13
    """
    lost, gained, images = (np.asarray(count, np.float64) for count in (lost, gained, images))
    low, high = (lost - gained) / images, np.ones_like(lost / images)
    for _ in range(HALVINGS):  # halve the range in which the limit lies
        drop = (low + high) / 2
        excluded = drop_excluded(lost, gained, images, drop, confidence)
        low, high = np.where(excluded, low, drop), np.where(excluded, drop, high)
    return high


def difference_interval(lost: int, gained: int, images: int, confidence: float) -> Interval:
    """Return (gained - lost) / images with Tango's interval. images: above 0.

    >>> difference_interval(lost=0, gained=0, images=100, confidence=0.95)
    Interval(value=0.0, low=-0.036993, high=0.036993)
    """
    low = -float(drop_limit(lost, gained, images, confidence))
    high = float(drop_limit(gained, lost, images, confidence))
    return Interval((gained - lost) / images, round(low, 6), round(high, 6))


def sign_test(gained: int, lost: int) -> float:
    """Return the probability that chance alone gives at least so many gained images.

    It is the one-sided, exact test of McNemar (1947). If the models are equally good, each changed
    image is gained or lost with probability 1/2.

    >>> sign_test(gained=4, lost=0), sign_test(gained=0, lost=0)
    (0.0625, 1.0)
    """
    from scipy.special import betainc

    # The incomplete beta function is the tail of the binomial distribution. A sum over the tail
    # would take minutes if 20,000 images changed.
    return float(betainc(gained, lost + 1, 0.5)) if gained else 1.0


def permutation_test(
    labels: Ints, first: Ints, second: Ints, classes: int, metric: str, draws: int, seed: int
) -> float:
    """Return the probability that chance alone gives so large an advantage of the first model.

    If the models are equally good, the predictions of an image could as well be exchanged between
    the two models. Each draw exchanges the predictions of about half of the images, chosen at
    random. The result is the share of draws with at least the measured difference of the scores.
    The measured difference counts as a draw, so the result is above 0 (Phipson and Smyth, 2010).

    labels: int [N], class indices. first, second: int [N], the predicted class indices of the two
    models. classes: the number of classes. metric: `balanced_accuracy` or `macro_f1`. draws: the
    number of draws. seed: the seed of the random numbers.
    """
    from scipy.sparse import csr_array

    support = np.bincount(labels, minlength=classes)
    hits, given = _counts(labels, first, classes)
    other_hits, other_given = _counts(labels, second, classes)
    changed = np.flatnonzero(first != second)
    label, before, after = (values[changed] for values in (labels, first, second))

    def one_hot(values: Ints, rows: Bools) -> csr_array:
        """Return float32 [changed images, classes] with a one for the value of each of `rows`."""
        ones = (np.ones(rows.sum(), np.float32), (np.flatnonzero(rows), values[rows]))
        return csr_array(ones, shape=(len(changed), classes))

    # The changes of `hits` and `given` of the first model if an image's predictions are exchanged.
    # The counts of the second model change by the same numbers, with the opposite sign.
    every = np.ones(len(changed), np.bool_)
    more_hits = one_hot(label, after == label) - one_hot(label, before == label)
    more_given = one_hot(after, every) - one_hot(before, every)

    def advantage(exchanged: Floats) -> Floats:
        hit, give = exchanged @ more_hits, exchanged @ more_given
        return np.asarray(
            macro_score(metric, hits + hit, given + give, support)
            - macro_score(metric, other_hits - hit, other_given - give, support)
        )

    generator, as_large = np.random.default_rng(seed), 1
    measured = advantage(np.zeros((1, len(changed)), np.float32))[0]
    block = max(1, HELD_AT_ONCE // max(1, len(changed) + classes))
    for start in range(0, draws, block):
        size = (min(block, draws - start), len(changed))
        exchanged = generator.integers(2, size=size, dtype=np.int8).astype(np.float32)
        # The tolerance is for rounding errors: equal differences must count.
        as_large += int((advantage(exchanged) >= measured - 1e-9).sum())
    return as_large / (draws + 1)


def macro_score(metric: str, hits: Array, given: Array, support: Ints) -> Floats:
    """Return the balanced accuracy or the macro F1 of counts: float64 [...].

    metric: `balanced_accuracy` or `macro_f1`. hits: float [..., C], the number of right predictions
    of each class. given: float [..., C], the number of predictions of each class. support: int [C],
    the number of images of each class. A class without images is left out.
    """
    present = support > 0
    hits, given, whole = hits[..., present], given[..., present], support[present]
    scores = hits / whole if metric == "balanced_accuracy" else 2 * hits / (given + whole)
    return np.asarray(scores.mean(axis=-1))


def _counts(labels: Ints, predicted: Ints, classes: int) -> tuple[Ints, Ints]:
    """Return the number of right predictions, and of all predictions, of each class: int [C]."""
    hits = np.bincount(labels[labels == predicted], minlength=classes)
    return hits, np.bincount(predicted, minlength=classes)
