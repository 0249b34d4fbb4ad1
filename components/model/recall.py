"""Labels and predictions → recall, and its mean over the classes: balanced accuracy.

Training keeps the best epoch by it, and evaluation reports it, so the formula has one home. A class
without images has no recall; it is left out, and does not count as 0 or 1.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def balanced_accuracy(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Return the mean recall of the classes among the labels (Brodersen et al., 2010).

    labels, predicted: int [N], at least one.

    Class 0 has a recall of 1, class 1 of 0.5; class 2 has no image:

    >>> balanced_accuracy(np.array([0, 1, 1]), np.array([0, 1, 2]))
    0.75
    """
    support = np.bincount(labels)
    hits = np.bincount(labels[labels == predicted], minlength=len(support))
    occurs = support > 0
    return float(mean_of_defined(ratio(hits[occurs], support[occurs])))


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """Return part / whole, and NaN where the whole is 0; both of one shape.

    >>> ratio(np.array([1, 0]), np.array([2, 0]))
    array([0.5, nan])
    """
    quotient: Floats = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return quotient


def mean_of_defined(values: Floats) -> Floats:
    """Return the mean over classes, [C, …] → […], without NaN; NaN where nothing is left.

    >>> mean_of_defined(np.array([[0.5, np.nan], [1.0, np.nan]]))
    array([0.75,  nan])
    """
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis=0), defined.sum(axis=0))
