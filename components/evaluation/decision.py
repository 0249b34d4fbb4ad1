"""Probabilities → the predicted class of each image.

The metrics, the table of predictions and the comparison with the champion use the same function, so
that they agree on the predicted class of every image.
"""

import numpy as np

from components.evaluation.interval import Floats, Ints


def decided_classes(probabilities: Floats) -> Ints:
    """Return the index of the most probable class of each image: int64 [N].

    probabilities: float [N, C]. If several classes have the same highest probability, the class
    with the lowest index is returned.

    >>> decided_classes(np.array([[0.2, 0.8], [0.5, 0.5]])).tolist()
    [1, 0]
    """
    classes: Ints = probabilities.argmax(axis=1)
    return classes


def cheapest_decisions(probabilities: Floats, costs: Floats) -> Ints:
    """Return the decision with the lowest expected cost for each image: int64 [N] (Elkan, 2001).

    The expected cost of a decision is the sum over all classes of probability * cost. So a class
    that is not the most probable one can be the best decision, if being wrong would cost less.

    probabilities: float [N, C]. costs: float [C, C]; `costs[label, decision]`. If several decisions
    have the same lowest expected cost, the lowest index is returned.

    An alarm that is missed costs 5, a false alarm 1. So an alarm (class 1) is best from a
    probability of 1/6 on:

    >>> cheapest_decisions(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([[0, 1], [5, 0]])).tolist()
    [0, 1]
    """
    decisions: Ints = (probabilities.astype(np.float64) @ costs).argmin(axis=1)
    return decisions
