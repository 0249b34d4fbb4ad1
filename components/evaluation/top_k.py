"""Labels and probabilities → how often the label is among the k most probable classes."""

from components.evaluation.interval import UNDEFINED, Floats, Interval, Ints, counted_interval


def top_k_accuracy(labels: Ints, probabilities: Floats, k: int, confidence: float) -> Interval:
    """Return the share of images whose label is among the k most probable classes.

    labels: int [N], class indices. probabilities: float [N, C]. confidence: the confidence level
    of Wilson's interval. Of two equally probable classes, that with the lower index counts as more
    probable, as in `decided_classes`; so k = 1 gives the accuracy.
    The result is undefined if k is not below C, because every label would be among the k classes.

    >>> import numpy as np
    >>> probabilities = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    >>> top_k_accuracy(np.array([1, 2]), probabilities, 2, confidence=0.95).value
    0.5
    """
    images, classes = probabilities.shape
    if k >= classes:
        return UNDEFINED
    hits = 0
    for label, row in zip(labels, probabilities, strict=True):
        before = (row > row[label]).sum() + (row[:label] == row[label]).sum()
        hits += int(before < k)
    return counted_interval(hits, images, confidence)
