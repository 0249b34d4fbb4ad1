"""Metrics of the classes → the rows of the table of classes, and the confusions."""

from collections.abc import Sequence
from dataclasses import dataclass

from components.evaluation.metrics import PER_CLASS, ClassMetrics, Metrics
from components.evaluation.page.axis import Axis, axis_of

CLASSES_SHOWN = 100  # classes in the table
THUMBNAILS = 4  # pictures of each class
# The maximum number of classes for which the page shows the confusion matrix. A larger matrix would
# not be readable. The list of the most frequent confusions is shown for any number of classes.
WIDEST_MATRIX = 30
DENSE = 12  # A matrix of more classes has smaller cells, without shares, so that it fits on paper.
CONFUSIONS = 10  # rows in the list of the most frequent confusions, beside a matrix
CONFUSIONS_ALONE = 30  # without a matrix


@dataclass(frozen=True)
class Confusion:
    """The test images of the class `label` that were predicted as another class, `predicted`.

    label, predicted: the names of the two classes. images: the number of these images. share:
    `images` divided by the number of all test images of the class `label`.
    """

    label: str
    predicted: str
    images: int
    share: float


@dataclass(frozen=True)
class ClassTable:
    """The table of classes.

    indices: the classes that are shown: all of them in their order, or those with the lowest
    recall. left_out: how many are not shown. axis: of the bars.
    """

    indices: tuple[int, ...]
    left_out: int
    axis: Axis


@dataclass(frozen=True)
class Confusions:
    """What was confused.

    mistakes: the number of all mistakes. pairs: the most frequent confusions, the most frequent
    first. left_out: how many pairs are not shown. matrix: `matrix[label][predicted]` is a number of
    images; empty if there are too many classes. dense: whether its cells must be small.
    """

    mistakes: int
    pairs: tuple[Confusion, ...]
    left_out: int
    matrix: tuple[tuple[int, ...], ...]
    dense: bool


def class_table(classes: Sequence[ClassMetrics]) -> ClassTable:
    """Return which classes the table shows."""
    indices = list(range(len(classes)))
    if len(indices) > CLASSES_SHOWN:
        indices = sorted(indices, key=lambda index: _recall(classes[index]))[:CLASSES_SHOWN]
    shown = [getattr(classes[index], metric) for index in indices for metric in PER_CLASS]
    return ClassTable(tuple(indices), len(classes) - len(indices), axis_of(shown))


def weakest_class(classes: Sequence[ClassMetrics]) -> ClassMetrics:
    """Return the class with the lowest recall; of equal ones, the first."""
    return min(classes, key=_recall)


def confusions(metrics: Metrics) -> Confusions:
    """Return what was confused. The order of equally frequent pairs is that of the classes."""
    classes, every = metrics.classes, range(len(metrics.classes))
    wrong = {pair: images for pair, images in metrics.confusion.items() if pair[0] != pair[1]}
    frequent = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
    matrix = tuple(
        tuple(metrics.confusion.get((row, column), 0) for column in every)
        for row in (every if len(every) <= WIDEST_MATRIX else ())
    )
    shown = frequent[: CONFUSIONS if matrix else CONFUSIONS_ALONE]
    pairs = tuple(
        Confusion(classes[label].name, classes[other].name, images, images / classes[label].support)
        for (label, other), images in shown
    )
    left_out = len(frequent) - len(pairs)
    return Confusions(sum(wrong.values()), pairs, left_out, matrix, len(every) > DENSE)


def _recall(scores: ClassMetrics) -> tuple[bool, float]:
    """Return a key by which the lowest recall comes first, and an undefined one last."""
    return scores.recall.value is None, scores.recall.value or 0.0
