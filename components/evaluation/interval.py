"""A value, and the number of images behind it → an interval that says how exact the value is.

An interval has a confidence level, such as 0.95. Suppose that many test splits were drawn from the
same source. About 95 % of the intervals would then contain the true value. The true value is the
value on all images that the source could give. docs/decisions/promotion-gate.md has a table of
measured frequencies.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Interval:
    """A measured value, such as a score or the difference of two scores, and its interval.

    value: the value on the test split; None if the value is undefined. low, high: the two ends of
    the interval; None if the value is undefined, or if the test split does not give an interval.
    """

    value: float | None
    low: float | None
    high: float | None


UNDEFINED = Interval(None, None, None)


def share_interval(value: float, images: float, confidence: float) -> Interval:
    """Return Wilson's interval (1927) of a share, such as the accuracy or the recall of a class.

    value: the share of right images, from 0 to 1. images: the number of images of which `value` is
    a share, above 0. It need not be an integer (see `bootstrap.score_interval`). confidence: the
    confidence level of the interval.

    >>> perfect = share_interval(1.0, images=300, confidence=0.95)
    >>> round(perfect.low, 4), perfect.high
    (0.9874, 1.0)
    """
    z = normal_quantile(confidence)
    centre = (value + z**2 / (2 * images)) / (1 + z**2 / images)
    half = z * (value * (1 - value) / images + (z / (2 * images)) ** 2) ** 0.5
    half /= 1 + z**2 / images
    # Without rounding errors the interval contains the value, and lies between 0 and 1.
    low, high = max(0.0, min(value, centre - half)), min(1.0, max(value, centre + half))
    return Interval(value, low, high)


def counted_interval(part: int, whole: int, confidence: float) -> Interval:
    """Return the share `part` / `whole` with Wilson's interval; undefined if `whole` is 0.

    >>> counted_interval(0, 0, confidence=0.95)
    Interval(value=None, low=None, high=None)
    """
    return share_interval(part / whole, whole, confidence) if whole else UNDEFINED


def corrected_interval(
    differences: Floats, test_share: float, confidence: float, limits: tuple[float, float]
) -> Interval:
    """Return the mean of repeated measurements, with the interval of Nadeau and Bengio (2003).

    differences: float [N], N > 1: N trainings of a method measured, most often minus those of
    another method with the same images. test_share: images that measure / all other images, which
    train or choose. confidence: the confidence level. limits: the smallest and the largest possible
    value; no end of the interval is beyond them.

    The trainings share most of their images, so the measurements vary less than independent ones.
    With the usual t interval, the variance would be s² / N; here it is s² * (1 / N + test_share).

    >>> interval = corrected_interval(np.array([0.01, 0.03]), 0.25, 0.95, limits=(-1.0, 1.0))
    >>> round(interval.value, 3), interval.low < 0
    (0.02, True)
    """
    from scipy.stats import t

    count = len(differences)
    spread = float(differences.std(ddof=1)) * (1 / count + test_share) ** 0.5
    half = spread * float(t.ppf((1 + confidence) / 2, count - 1))
    mean = float(differences.mean())
    return Interval(mean, max(limits[0], mean - half), min(limits[1], mean + half))


def normal_quantile(confidence: float) -> float:
    """Return z such that a normal value is within z standard deviations with this probability.

    >>> round(normal_quantile(0.95), 2)
    1.96
    """
    return NormalDist().inv_cdf((1 + confidence) / 2)
