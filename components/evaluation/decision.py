"""Probabilities → the class that is decided for: one rule for report, predictions and gate."""

from components.evaluation.bootstrap import Floats, Ints


def decided_classes(probabilities: Floats) -> Ints:
    """Return the index of the most probable class of each image, the first of equals: int64 [N].

    probabilities: float [N, C].

    >>> import numpy as np
    >>> decided_classes(np.array([[0.2, 0.8], [0.5, 0.5]])).tolist()
    [1, 0]
    """
    classes: Ints = probabilities.argmax(axis=1)
    return classes
