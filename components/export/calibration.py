"""Labels → which training images calibrate an int8 export."""

import numpy as np
from numpy.typing import NDArray

CALIBRATION_IMAGES = 200  # more change little, as only the range of values is taken


def calibration_rows(
    labels: NDArray[np.int64], most: int = CALIBRATION_IMAGES
) -> NDArray[np.int64]:
    """Return the rows of images of all classes, in the shares that the classes have, ascending.

    labels: int64 [N], N > 0. most: the number of rows; all N if there are no more.

    >>> calibration_rows(np.array([1, 0, 1, 1, 0, 1, 1, 1, 1, 0]), most=4)
    array([0, 1, 5, 8])
    """
    order = np.argsort(labels, kind="stable")
    places = np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(np.int64)
    return np.sort(order[places])
