"""Probabilities → the predicted class of each image.

The metrics, the table of predictions and the comparison with the champion use the same function, so
that they agree on the predicted class of every image.
"""

from components.evaluation.interval import Floats, Ints


def decided_classes(probabilities: Floats) -> Ints:
    """Return the index of the most probable class of each image: int64 [N].

    probabilities: float [N, C]. If several classes have the same highest probability, the class
    with the lowest index is returned.

    >>> import numpy as np
    >>> decided_classes(np.array([[0.2, 0.8], [0.5, 0.5]])).tolist()
    [1, 0]
    """
    classes: Ints = probabilities.argmax(axis=1)
    return classes
