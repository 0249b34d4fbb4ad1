"""Logits of val, labels → the temperature that makes the probabilities honest.

The logits are divided by one number, the temperature, before the softmax (Guo et al., 2017). The
predicted classes stay the same; only the probabilities change. The temperature is the one for which
the negative log-likelihood (NLL) of val is lowest.

How: with b = 1 / temperature, the NLL is convex in b. Its derivative is the mean over the images of

    (mean of the logits, weighted by the probabilities for b) - (logit of the label)

and rises with b, so it is 0 at one place only. The root is found by Brent's method. The cases in
which val does not determine the temperature:

- No image of val has a label whose logit is lower than another. The NLL then falls for ever as the
  temperature goes to 0, that is, to probabilities of exactly 1. But N images without a mistake do
  not mean that the classifier makes none. So one mistake is added, spread evenly over all images
  and all their wrong classes, as in Laplace's rule of succession. For example, with one image and
  two classes, both probabilities become 0.5. With 100 images, the mean confidence becomes 0.99.
- The best temperature is outside of LOWEST to HIGHEST. Then it is the nearest end. An example is a
  classifier whose logits for the labels are not above the mean: the temperature becomes HIGHEST.
- All logits of each image are equal. No temperature changes the probabilities, so it stays 1.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LOWEST, HIGHEST = 0.05, 20.0
# The temperature has this number of decimals, so that the last bits of sums, in which processors
# differ, do not reach the bytes of the model file.
DECIMALS = 6

NO_MISTAKE = (
    "val has no mistake, so the temperature was fitted as if val had one more image, a mistake"
)
EQUAL = "all logits of each val image are equal, so the temperature stays 1"
AT_AN_END = f"the temperature is at the end of its range, {LOWEST:g} to {HIGHEST:g}"

Floats = NDArray[np.float64]


class Fit(NamedTuple):
    """A fitted temperature, and sentences about it, as in `Effect`."""

    temperature: float
    notes: tuple[str, ...] = ()


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> Fit:
    """Return the temperature, LOWEST to HIGHEST, for which the NLL is lowest.

    logits: float [N, C], N > 0, all finite. labels: int [N], class indices.

    Two of three images are predicted correctly, so the probability should be about 2 / 3, and the
    odds e ** (2 / T) should be 2, so T = 2 / ln 2:

    >>> logits = np.array([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
    >>> fit_temperature(logits, np.array([0, 0, 1])).temperature
    2.88539
    """
    from scipy.optimize import brentq

    centred = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    if not centred.any():
        return Fit(1.0, (EQUAL,))
    truth = np.eye(logits.shape[1])[labels]
    notes: tuple[str, ...] = ()
    if not (centred * truth).any():
        truth += (1 - truth) / (1 - truth).sum()
        notes = (NO_MISTAKE,)
    ends = 1 / HIGHEST, 1 / LOWEST
    slopes = [_slope(end, centred, truth) for end in ends]
    if slopes[0] >= 0 or slopes[1] <= 0:
        return Fit(HIGHEST if slopes[0] >= 0 else LOWEST, (*notes, AT_AN_END))
    return Fit(round(1 / brentq(_slope, *ends, args=(centred, truth)), DECIMALS), notes)


def _slope(inverse: float, logits: Floats, truth: Floats) -> float:
    """Return the derivative of the NLL by 1 / temperature, times the number of images.

    inverse: 1 / temperature. logits: float [N, C]. truth: float [N, C], the weight of each class of
    each image: 1 for its label, 0 for all other classes, and more if a mistake was added.
    """
    expected = softmax(inverse * logits) * truth.sum(axis=1, keepdims=True)
    return float(((expected - truth) * logits).sum())


def softmax(logits: Floats) -> Floats:
    """Return probabilities: float [N, C] → float [N, C] with rows that sum to 1."""
    from scipy.special import softmax as probabilities

    result: Floats = probabilities(logits, axis=1)
    return result
