"""Labels and predictions → balanced accuracy, which is the mean of the recalls of the classes.

The recall of a class is the share of its images that are predicted as this class. A class without
images has no recall, so it is left out of the mean. The stages `train` and `evaluate` use the same
functions of this file, so their balanced accuracies can be compared.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def balanced_accuracy(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Return the mean recall of the classes that occur in `labels` (Brodersen et al., 2010).

    labels: the true class indices, int64 [N], N > 0. predicted: the predicted class indices, int64
    [N]. Returns a value from 0 to 1.

    In the example class 0 has recall 1, and class 1 has recall 0.5. Class 2 has no recall, because
    no label is 2. So the result is (1 + 0.5) / 2:

    >>> balanced_accuracy(np.array([0, 1, 1]), np.array([0, 1, 2]))
    0.75
    """
    support = np.bincount(labels)
    hits = np.bincount(labels[labels == predicted], minlength=len(support))
    occurs = support > 0
    return float(mean_of_defined(ratio(hits[occurs], support[occurs])))


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """Divide `part` by `whole`, element by element. The result of a division by 0 is NaN.

    part: the numerators, an array of any shape. whole: the denominators, an array of the same
    shape. Returns a float array of the same shape.

    >>> ratio(np.array([1, 0]), np.array([2, 0]))
    array([0.5, nan])
    """
    quotient: Floats = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return quotient


def mean_of_defined(values: Floats) -> Floats:
    """Return the mean over the first axis, which is the axis of the classes. NaNs are left out.

    values: the values of each class, float [C, …]. Returns the means, float […]. A mean is NaN if
    the values of all classes are NaN.

    >>> mean_of_defined(np.array([[0.5, np.nan], [1.0, np.nan]]))
    array([0.75,  nan])
    """
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis=0), defined.sum(axis=0))
