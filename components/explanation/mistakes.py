"""A classifier, test images and their predictions → the explanations that a report shows.

train = training_images(classifier, images, labels, Path(".fovea/features"))
found = explain_mistakes(GradCam(classifier), test, probabilities, labels, train, amounts)
for mistake in found.worst:
    mistake.image_png, mistake.overlay_png, mistake.label, mistake.predicted, mistake.nearest
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.explanation.explanation import Explanation, Images, Ints, explain_images
from components.explanation.grad_cam import GradCam
from components.explanation.nearest import TrainingImages


@dataclass(frozen=True)
class Amounts:
    """How many images are explained: at most worst + weakest + pairs * of_pair.

    worst: the mistakes with the highest probability. weakest: mistakes of the class with the lowest
    recall. pairs: confused pairs of classes, the most frequent ones. of_pair: mistakes of each
    pair. nearest: training images for each of all these mistakes.
    """

    worst: int
    weakest: int
    pairs: int
    of_pair: int
    nearest: int


@dataclass(frozen=True)
class ConfusedPair:
    """The test images of the class `label` that were predicted as `predicted`.

    images: their number. explanations: those with the highest probability, the highest first.
    """

    label: str
    predicted: str
    images: int
    explanations: tuple[Explanation, ...]


@dataclass(frozen=True)
class ExplainedMistakes:
    """The explained mistakes on the test split.

    layer: the name of the layer whose maps were used. grid: (height, width) of these maps.
    mistakes: the number of all mistakes. worst: those with the highest probability, the highest
    first. weakest_class: the class with the lowest recall; None if there is no mistake. weakest:
    its mistakes, the highest probability first. pairs: the most frequent confusions, the most
    frequent first.
    """

    layer: str
    grid: tuple[int, int]
    mistakes: int
    worst: tuple[Explanation, ...]
    weakest_class: str | None
    weakest: tuple[Explanation, ...]
    pairs: tuple[ConfusedPair, ...]


def explain_mistakes(
    grad_cam: GradCam,
    images: Images,
    probabilities: NDArray[np.floating],
    labels: Ints,
    train: TrainingImages | None,
    amounts: Amounts,
) -> ExplainedMistakes:
    """Explain the worst mistakes, mistakes of the weakest class, and of the confused pairs.

    The map of a mistake is for the predicted class. An image that is shown twice is explained once.
    images: uint8 [N, S, S, 3], the test images, also a memory map. probabilities: float [N, C], as
    its classifier predicts them, all finite. labels: int [N], class indices. train: None for no
    nearest images.
    """
    names = grad_cam.classifier.class_names
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")]
    confused = list(zip(labels[surest].tolist(), predicted[surest].tolist(), strict=True))
    # The order of equally frequent pairs is that of the classes.
    frequent = sorted(Counter(confused).items(), key=lambda pair: (-pair[1], pair[0]))
    rows_of_pairs = {
        pair: surest[[each == pair for each in confused]][: amounts.of_pair]
        for pair, _ in frequent[: amounts.pairs]
    }
    worst, weakest_class = surest[: amounts.worst], _weakest_class(labels, predicted)
    weakest = surest[labels[surest] == weakest_class][: amounts.weakest]
    rows = np.unique(np.concatenate([worst, weakest, *rows_of_pairs.values()]))
    explanations = explain_images(
        grad_cam, images, rows, probabilities, labels=labels, train=train, count=amounts.nearest
    )
    by_row = {each.row: each for each in explanations}

    def explained(chosen: Ints) -> tuple[Explanation, ...]:
        return tuple(by_row[row] for row in chosen.tolist())

    pairs = [
        ConfusedPair(names[label], names[other], count, explained(rows_of_pairs[label, other]))
        for (label, other), count in frequent[: amounts.pairs]
    ]
    return ExplainedMistakes(
        layer=grad_cam.layer,
        grid=grad_cam.grid,
        mistakes=len(wrong),
        worst=explained(worst),
        weakest_class=names[weakest_class] if len(wrong) else None,
        weakest=explained(weakest),
        pairs=tuple(pairs),
    )


def _weakest_class(labels: Ints, predicted: Ints) -> int:
    """Return the class with the lowest recall of those with images; of equal ones, the first."""
    present, counts = np.unique(labels, return_counts=True)
    right = np.bincount(labels[labels == predicted], minlength=int(present[-1]) + 1)[present]
    return int(present[np.argmin(right / counts)])
