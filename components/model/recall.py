"""Labels and predictions → balanced accuracy, which is the mean recall over the classes.

Training and evaluation use the same functions, so their values can be compared. A class without
images has no recall, so it is not part of the mean.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def balanced_accuracy(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Return the mean recall of the classes that occur in `labels` (Brodersen et al., 2010).

    labels, predicted: class indices int64 [N], N > 0. Returns a value from 0 to 1.

    Class 0 has recall 1 and class 1 has recall 0.5. Class 2 is only predicted, so it has no recall:

    >>> balanced_accuracy(np.array([0, 1, 1]), np.array([0, 1, 2]))
    0.75
    """
    support = np.bincount(labels)
    hits = np.bincount(labels[labels == predicted], minlength=len(support))
    occurs = support > 0
    return float(mean_of_defined(ratio(hits[occurs], support[occurs])))


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """Return part / whole, element by element; an element is NaN if its whole is 0.

    part, whole: arrays of the same shape.

    >>> ratio(np.array([1, 0]), np.array([2, 0]))
    array([0.5, nan])
    """
    quotient: Floats = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return quotient


def mean_of_defined(values: Floats) -> Floats:
    """Return the mean over the classes. Values that are NaN are not part of the mean.

    values: float [C, …]. Returns float […]; a mean is NaN if all of its values are NaN.

    >>> mean_of_defined(np.array([[0.5, np.nan], [1.0, np.nan]]))
    array([0.75,  nan])
    """
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis=0), defined.sum(axis=0))
