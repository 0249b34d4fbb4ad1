"""Labels and probabilities of the test split → accuracy, F1 and other metrics, with intervals.

Guarantee: the values of the metrics equal those of scikit-learn; a test compares them. The same
arguments give the same values and the same intervals. An undefined metric is None (null in
metrics.json), never NaN. Macro averages leave undefined metrics out. The rules for classes are:

- A class without test images has no precision, recall, F1 or ROC AUC. If an image of another class
  is predicted as this class, this is still a mistake, and lowers the recall of that other class.
- A class with test images that is never predicted has precision 0 and F1 0. This is scikit-learn's
  `zero_division=0`.
- The ROC AUC of a class is None if no test image or every test image belongs to the class.

With these rules, balanced accuracy equals macro recall. This is also so in scikit-learn
(Brodersen et al., 2010).

How: the same code computes each score for the test split and for each resample of the bootstrap.
`times` says how often a resample contains each image. The test split has the form of a resample
that contains each image once.

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
# The maximum length of a class name in the name of an MLflow metric, such as
# `test_precision/glass`. MLflow allows 250 characters for the whole name.
LONGEST_NAME = 200


@dataclass(frozen=True)
class ClassMetrics:
    """The metrics of one class against all other classes; support is its number of test images."""

    name: str
    support: int
    precision: Interval
    recall: Interval
    f1: Interval
    roc_auc: Interval


@dataclass(frozen=True)
class Metrics:
    """All metrics of a classifier on a test split.

    confusion: confusion[label][predicted] is a number of images. images: the number of test images.
    confidence: of the intervals, such as 0.95.
    """

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
        """Return name → interval for the metrics of the whole classifier, not of single classes."""
        return {name: getattr(self, name) for name in (*MACRO, "macro_roc_auc")}

    def in_words(self) -> str:
        """Return the accuracy with its interval and the macro F1 in one line."""
        accuracy, percent = self.accuracy, f"{100 * self.confidence:g} %"
        return (
            f"accuracy {accuracy.value:.3f} "
            f"({percent} interval {accuracy.low:.3f}–{accuracy.high:.3f}), "
            f"macro F1 {self.macro_f1.value:.3f} on {self.images} test images"
        )

    def to_tree(self) -> dict[str, Any]:
        """Return nested dicts and lists for metrics.json.

        An interval is a list, [low, high]. `dvc metrics` does not show lists, so its tables contain
        only the values of the metrics and are easy to read.
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
        """Return name → value for a tracker; names are like macro_f1, macro_f1_low, recall/glass.

        Undefined values are left out. A class name is replaced by the index of the class, as in
        `recall/class 3`, if it is longer than LONGEST_NAME or has a character other than letters,
        digits, space, hyphen and underscore, which MLflow may refuse.
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
    """Return the metrics of a classifier, with bootstrap intervals (see `score_interval`).

    labels: int [N], indices into class_names. probabilities: float [N, C]; column c belongs to
    class_names[c]. Raises UserError if N is 0, or if a probability is NaN or infinite.
    """
    check_finite(probabilities)
    scores = _scores(labels, probabilities, whole_sample(len(labels)))
    blocks = [
        _scores(labels, probabilities, times)
        for times in draw_resamples(len(labels), evaluate.resamples, seed)
    ]
    draws = {name: np.concatenate([block[name] for block in blocks], axis=-1) for name in scores}

    counts = confusion_counts(labels, probabilities)
    # Recall is a share of the images of a class. Precision is a share of the images that were
    # predicted as the class. score_interval needs the number of these images.
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
    """Raise UserError if there is no image, or if a probability is NaN or infinite.

    probabilities: float [N, C].
    """
    if len(probabilities) == 0:
        raise UserError("the test split needs at least one image. Received: 0 images")
    broken = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if broken:
        raise UserError(
            "the classifier must give finite probabilities; train it again with a lower "
            f"learning rate. Received: NaN or infinity for {broken} of {len(probabilities)} images"
        )


def confusion_counts(labels: Ints, probabilities: Floats) -> Ints:
    """Return the number of images for each label (row) and predicted class (column): int64 [C, C].

    labels: int [N]. probabilities: float [N, C].

    >>> confusion_counts(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]]))
    array([[1, 1],
           [1, 0]])
    """
    classes = probabilities.shape[1]
    cells = labels * classes + decided_classes(probabilities)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def count_scores(labels: Ints, predicted: Ints, classes: int, times: Floats) -> dict[str, Floats]:
    """Return the scores on each resample, without ROC AUC, which needs probabilities.

    labels, predicted: int [N]. times: float [N, R]; times[n, r] says how often resample r contains
    image n. Returns name → scores: float64 [R] for the names in MACRO, and float64 [classes, R] for
    precision, recall and f1. A score is NaN if it is undefined.
    """
    one_hot = np.eye(classes, dtype=np.float32)
    hit = one_hot[labels] * (labels == predicted)[:, np.newaxis]
    hits, given, support = (
        (members.T @ times).astype(np.float64)
        for members in (hit, one_hot[predicted], one_hot[labels])
    )
    recall = ratio(hits, support)
    # If a class is never predicted, given and hits are 0, so its precision becomes 0 / 1 = 0. If
    # the resample contains no image of a class, all its scores are NaN.
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

    The area is the probability that an image of the class has a higher score than an image of
    another class; equal scores count as half (Hanley and McNeil, 1982). It is undefined if the
    resample contains no image of the class, or no image of another class.

    positive: bool [N], True if an image belongs to the class. scores: float [N]. times: float
    [N, R]; times[n, r] says how often resample r contains image n.

    An image of the class has the score 0.7, two images of other classes have 0.1 and 0.7. The first
    pair counts 1 and the second counts 0.5, so the area is 1.5 / 2:

    >>> positive, scores = np.array([True, False, False]), np.array([0.7, 0.1, 0.7])
    >>> roc_auc(positive, scores, whole_sample(3))
    array([0.75])
    """
    order = np.argsort(scores, kind="stable")
    ranked, ascending = scores[order], times[order]
    up_to = np.concatenate([np.zeros_like(times[:1]), np.cumsum(ascending, axis=0)])
    inside = positive[order]
    positives = ascending[inside].astype(np.float64)
    # For each image of the class (a positive), `below` counts the images with a lower score, and
    # `not_above` counts the images with a lower or equal score. The mean of the two counts is the
    # number of wins of this image, with half a win for an equal score. The two counts still include
    # positives, although a positive must be compared only with images of other classes.
    below = up_to[np.searchsorted(ranked, ranked[inside], "left")]
    not_above = up_to[np.searchsorted(ranked, ranked[inside], "right")]
    # So the wins of positives against positives are subtracted. They are half of all count**2
    # pairs: of two positives one wins and the other loses, and equal scores count half for each.
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
