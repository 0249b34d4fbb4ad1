"""Labels and probabilities of the test split → how good the classifier is, with intervals.

Guarantee: the figures are those of scikit-learn (a test compares them). The same arguments give
the same figures and the same intervals. A figure that is undefined is null, never NaN, and does
not count as 0 or 1 in an average:

- A class without test images has no precision, recall, F1 or ROC AUC, and macro averages leave it
  out. An image of another class that is given to it still counts as a mistake of that other class.
- A class with test images that is never predicted has precision 0 and F1 0 (scikit-learn's
  `zero_division=0`).
- ROC AUC needs images of the class and images of other classes; else it is null.

So balanced accuracy is macro recall, as in scikit-learn (Brodersen et al., 2010).

How: each score is computed once for the test split and once for each resample (bootstrap), by the
same code. `times` says how often an image is in a resample; the test split is one more resample,
with each image once.

Example: three images of the classes glass and metal.

    image   label   predicted
    a       glass   glass
    b       glass   metal
    c       metal   metal

    accuracy                  2/3, since 2 of 3 are right
    recall of glass, metal    1/2, 1/1; balanced accuracy is their mean, 3/4
    precision                 1/1, 1/2
    F1                        2/3, 2/3
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.errors import UserError
from components.evaluation.bootstrap import (
    Bools,
    Floats,
    Interval,
    Ints,
    draw_resamples,
    score_interval,
    whole_sample,
)
from components.evaluation.decision import decided_classes
from components.model.recall import mean_of_defined, ratio
from components.params.evaluate import Evaluate

MACRO = ("accuracy", "balanced_accuracy", "macro_f1", "macro_precision", "macro_recall")
PER_CLASS = ("precision", "recall", "f1", "roc_auc")
DIGITS = 6
LONGEST_NAME = 200  # MLflow takes 250 characters, and `test_precision/` is put before the name


@dataclass(frozen=True)
class ClassMetrics:
    """One class against the rest."""

    name: str
    support: int
    precision: Interval
    recall: Interval
    f1: Interval
    roc_auc: Interval


@dataclass(frozen=True)
class Metrics:
    """Everything that is measured on a test split; confusion[label][predicted] counts images."""

    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    macro_precision: Interval
    macro_recall: Interval
    macro_roc_auc: Interval
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    images: int
    confidence: float

    def headlines(self) -> dict[str, Interval]:
        """Return name → figure of those that are about the classifier as a whole."""
        return {name: getattr(self, name) for name in (*MACRO, "macro_roc_auc")}

    def in_words(self) -> str:
        """Return the most important figures in one line."""
        accuracy, percent = self.accuracy, f"{100 * self.confidence:g} %"
        return (
            f"accuracy {accuracy.value:.3f} "
            f"({percent} interval {accuracy.low:.3f}–{accuracy.high:.3f}), "
            f"macro F1 {self.macro_f1.value:.3f} on {self.images} test images"
        )

    def to_tree(self) -> dict[str, Any]:
        """Return plain values for metrics.json.

        Intervals are lists, [low, high]: `dvc metrics` shows no lists, so its tables stay readable.
        """
        headlines = self.headlines()
        return {
            **{name: _round(figure.value) for name, figure in headlines.items()},
            "images": self.images,
            "confidence": self.confidence,
            "intervals": {name: _ends(figure) for name, figure in headlines.items()},
            "classes": {measured.name: _class_tree(measured) for measured in self.classes},
        }

    def to_flat(self) -> dict[str, float]:
        """Return flat name → value, such as macro_f1, macro_f1_low and recall/glass.

        What is undefined is left out. A class name that trackers refuse, for its characters or its
        length, is replaced by the number of the class: `recall/class 3`.
        """
        values: dict[str, float | None] = {}
        for name, figure in self.headlines().items():
            values |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
        for index, measured in enumerate(self.classes):
            plain = re.fullmatch(rf"[\w -]{{1,{LONGEST_NAME}}}", measured.name)
            shown = measured.name if plain else f"class {index}"
            values |= {f"{metric}/{shown}": getattr(measured, metric).value for metric in PER_CLASS}
        return {name: value for name, value in values.items() if value is not None}


def measure(
    labels: Ints,
    probabilities: Floats,
    class_names: Sequence[str],
    evaluate: Evaluate,
    seed: int,
) -> Metrics:
    """Measure probabilities against labels, with bootstrap intervals: see score_interval.

    labels: int [N], indices into class_names. probabilities: float [N, C].
    Raises UserError where there is no image or a probability is not finite.
    """
    check_finite(probabilities)
    scores = _scores(labels, probabilities, whole_sample(len(labels)))
    blocks = [
        _scores(labels, probabilities, times)
        for times in draw_resamples(len(labels), evaluate.resamples, seed)
    ]
    draws = {name: np.concatenate([block[name] for block in blocks], axis=-1) for name in scores}

    counts = confusion_counts(labels, probabilities)
    # Recall is a share of the images of a class, precision of those that were given to it.
    wholes = {"recall": counts.sum(axis=1), "precision": counts.sum(axis=0)}

    def around(name: str, *index: int) -> Interval:
        images = len(labels) if name == "accuracy" else None
        images = int(wholes[name][index]) if name in wholes else images
        value, on_resamples = scores[name][*index, 0], draws[name][*index]
        return score_interval(value, on_resamples, evaluate.confidence, images)

    classes = [
        ClassMetrics(
            name,
            int(counts[index].sum()),
            **{metric: around(metric, index) for metric in PER_CLASS},
        )
        for index, name in enumerate(class_names)
    ]
    return Metrics(
        **{name: around(name) for name in (*MACRO, "macro_roc_auc")},
        classes=tuple(classes),
        confusion=tuple(tuple(map(int, row)) for row in counts),
        images=len(labels),
        confidence=evaluate.confidence,
    )


def check_finite(probabilities: Floats) -> None:
    """Raise UserError where there is no image, or a probability is NaN or infinite."""
    if len(probabilities) == 0:
        raise UserError("the test split needs at least one image. Received: 0 images")
    broken = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if broken:
        raise UserError(
            "the classifier must give finite probabilities; train it again with a lower "
            f"learning rate. Received: NaN or infinity for {broken} of {len(probabilities)} images"
        )


def confusion_counts(labels: Ints, probabilities: Floats) -> Ints:
    """Count images by label and by the most probable class (the first of equals): int64 [C, C].

    >>> confusion_counts(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]]))
    array([[1, 1],
           [1, 0]])
    """
    classes = probabilities.shape[1]
    cells = labels * classes + decided_classes(probabilities)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def count_scores(labels: Ints, predicted: Ints, classes: int, times: Floats) -> dict[str, Floats]:
    """Compute on each resample the scores that come from counts, which is all but ROC AUC.

    labels, predicted: int [N]. times: float [N, R], how often an image is in a resample. Returns
    the names in MACRO as float64 [R] and precision, recall and F1 as float64 [classes, R].
    """
    one_hot = np.eye(classes, dtype=np.float32)
    hit = one_hot[labels] * (labels == predicted)[:, np.newaxis]
    hits, given, support = (
        (members.T @ times).astype(np.float64)
        for members in (hit, one_hot[predicted], one_hot[labels])
    )
    recall = ratio(hits, support)
    # A class that is never predicted has given = 0 and hits = 0: its precision is 0 / 1. A class
    # without images in the resample has no score at all.
    precision = np.where(support > 0, hits / np.maximum(given, 1), np.nan)
    f1 = np.where(support > 0, ratio(2 * hits, given + support), np.nan)
    return {
        "accuracy": hits.sum(axis=0) / support.sum(axis=0),
        "balanced_accuracy": mean_of_defined(recall),
        "macro_f1": mean_of_defined(f1),
        "macro_precision": mean_of_defined(precision),
        "macro_recall": mean_of_defined(recall),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


def roc_auc(positive: Bools, scores: Floats, times: Floats) -> Floats:
    """Return the area under the ROC curve on each resample: float64 [R], NaN where undefined.

    It is the probability that an image of the class has a higher score than an image of the rest,
    where a tie counts half (Hanley and McNeil, 1982).

    positive: bool [N], whether an image is of the class. scores: float [N]. times: float [N, R],
    how often an image is in a resample.

    One image of the class against two of the rest: it wins against 0.1 and ties with 0.7.

    >>> positive, scores = np.array([True, False, False]), np.array([0.7, 0.1, 0.7])
    >>> roc_auc(positive, scores, whole_sample(3))
    array([0.75])
    """
    order = np.argsort(scores, kind="stable")
    ranked, ascending = scores[order], times[order]
    up_to = np.concatenate([np.zeros_like(times[:1]), np.cumsum(ascending, axis=0)])
    inside = positive[order]
    positives = ascending[inside].astype(np.float64)
    # Images with a lower score, and those with the same or a lower one: their mean is the wins of a
    # positive, ties counting half. Both count positives, too, not only the rest.
    below = up_to[np.searchsorted(ranked, ranked[inside], "left")]
    not_above = up_to[np.searchsorted(ranked, ranked[inside], "right")]
    # So what positives win against positives is taken off: by symmetry, half of all such pairs.
    count = positives.sum(axis=0)
    wins = (positives * (below + not_above)).sum(axis=0) / 2 - count**2 / 2
    return ratio(wins, count * (times.sum(axis=0) - count))


def _scores(labels: Ints, probabilities: Floats, times: Floats) -> dict[str, Floats]:
    classes = probabilities.shape[1]
    scores = count_scores(labels, decided_classes(probabilities), classes, times)
    areas = [roc_auc(labels == index, probabilities[:, index], times) for index in range(classes)]
    scores["roc_auc"] = np.stack(areas)
    scores["macro_roc_auc"] = mean_of_defined(scores["roc_auc"])
    return scores


def _class_tree(measured: ClassMetrics) -> dict[str, Any]:
    figures = {metric: getattr(measured, metric) for metric in PER_CLASS}
    return {
        "support": measured.support,
        **{metric: _round(figure.value) for metric, figure in figures.items()},
        "intervals": {metric: _ends(figure) for metric, figure in figures.items()},
    }


def _ends(figure: Interval) -> list[float | None]:
    return [_round(figure.low), _round(figure.high)]


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
