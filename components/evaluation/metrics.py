"""Labels and probabilities of the test split → how good the classifier is, with intervals.

What is undefined is null, never NaN, and never counted as a 0 or a 1:

- A class without test images has no precision, recall, F1 or ROC AUC, and the macro averages leave
  it out. (An image wrongly given to it still costs the class that it was taken from.)
- A class with test images that is never predicted has precision 0 and F1 0: scikit-learn's
  `zero_division=0`.
- ROC AUC needs images inside and outside of the class; else it is null.

Balanced accuracy is therefore macro recall, as in scikit-learn (Brodersen et al., 2010).
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
    each_once,
    resampled,
    score_interval,
)
from components.params.evaluate import Evaluate

MACRO = ("accuracy", "balanced_accuracy", "macro_f1", "macro_precision", "macro_recall")
PER_CLASS = ("precision", "recall", "f1", "roc_auc")
DIGITS = 6
LONGEST_NAME = 200  # MLflow takes 250 characters, with what is written before a class's name


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
    """All that is measured on a test split; confusion[actual][predicted] counts images."""

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
        """Return what is said about the classifier as a whole, by name."""
        return {name: getattr(self, name) for name in (*MACRO, "macro_roc_auc")}

    def in_words(self) -> str:
        """Say the most important figures in one line."""
        accuracy, percent = self.accuracy, f"{100 * self.confidence:g} %"
        return (
            f"accuracy {accuracy.value:.3f} "
            f"({percent} interval {accuracy.low:.3f}–{accuracy.high:.3f}), "
            f"macro F1 {self.macro_f1.value:.3f} on {self.images} test images"
        )

    def to_tree(self) -> dict[str, Any]:
        """Return plain values for metrics.json.

        Intervals are [low, high] lists, which `dvc metrics` passes over: its tables stay readable.
        """
        headlines = self.headlines()
        return {
            **{name: _rounded(found.value) for name, found in headlines.items()},
            "images": self.images,
            "confidence": self.confidence,
            "intervals": {name: _ends(found) for name, found in headlines.items()},
            "classes": {found.name: _class_tree(found) for found in self.classes},
        }

    def to_flat(self) -> dict[str, float]:
        """Return what is defined by flat names, such as macro_f1, macro_f1_low and recall/glass.

        A class whose name trackers refuse, for its signs or its length, goes by its number:
        `recall/class 3`.
        """
        values: dict[str, float | None] = {}
        for name, found in self.headlines().items():
            values |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        for index, measured in enumerate(self.classes):
            plain = re.fullmatch(rf"[\w -]{{1,{LONGEST_NAME}}}", measured.name)
            called = measured.name if plain else f"class {index}"
            values |= {f"{what}/{called}": getattr(measured, what).value for what in PER_CLASS}
        return {name: value for name, value in values.items() if value is not None}


def measure(
    labels: Ints,
    probabilities: Floats,
    class_names: Sequence[str],
    evaluate: Evaluate,
    seed: int,
) -> Metrics:
    """Measure probabilities against labels, with bootstrap intervals: see score_interval.

    labels: int [N], indices into class_names. probabilities: float [N, C]. The same arguments give
    the same figures. Raises UserError where there is no image or a probability is not finite.
    """
    check_finite(probabilities)
    found = _scores(labels, probabilities, each_once(len(labels)))
    blocks = [
        _scores(labels, probabilities, times)
        for times in resampled(len(labels), evaluate.resamples, seed)
    ]
    draws = {name: np.concatenate([block[name] for block in blocks], axis=-1) for name in found}

    counts = confusion_counts(labels, probabilities)
    shares = {"recall": counts.sum(axis=1), "precision": counts.sum(axis=0)}

    def around(name: str, *index: int) -> Interval:
        images = len(labels) if name == "accuracy" else None
        images = int(shares[name][index]) if name in shares else images
        value, drawn = found[name][*index, 0], draws[name][*index]
        return score_interval(value, drawn, evaluate.confidence, images)

    classes = [
        ClassMetrics(
            name, int(counts[index].sum()), **{what: around(what, index) for what in PER_CLASS}
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
    """Raise UserError where there is nothing to measure, or where it means nothing."""
    if len(probabilities) == 0:
        raise UserError("the test split needs at least one image. Received: 0 images")
    broken = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if broken:
        raise UserError(
            "the classifier must give finite probabilities; train it again with a lower "
            f"learning rate. Received: NaN or infinity for {broken} of {len(probabilities)} images"
        )


def confusion_counts(labels: Ints, probabilities: Floats) -> Ints:
    """Count images by label and by the most probable class (the first of equals): int64 [C, C]."""
    classes = probabilities.shape[1]
    cells = labels * classes + probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def count_scores(labels: Ints, predicted: Ints, classes: int, times: Floats) -> dict[str, Floats]:
    """Score resamples by what can be counted.

    labels, predicted: int [N]. times: float [N, R], how often an image is in a resample. Returns
    the names in MACRO as float64 [R] and precision, recall and F1 as float64 [classes, R].
    """
    one_hot = np.eye(classes, dtype=np.float32)
    hit = one_hot[labels] * (labels == predicted)[:, np.newaxis]
    hits, given, support = (
        (members.T @ times).astype(np.float64)
        for members in (hit, one_hot[predicted], one_hot[labels])
    )
    recall = _ratio(hits, support)
    # A class never predicted scores 0; one without images scores nothing.
    precision = np.where(support > 0, hits / np.maximum(given, 1), np.nan)
    f1 = np.where(support > 0, _ratio(2 * hits, given + support), np.nan)
    return {
        "accuracy": hits.sum(axis=0) / support.sum(axis=0),
        "balanced_accuracy": _mean_of_defined(recall),
        "macro_f1": _mean_of_defined(f1),
        "macro_precision": _mean_of_defined(precision),
        "macro_recall": _mean_of_defined(recall),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


def roc_auc(positive: Bools, scores: Floats, times: Floats) -> Floats:
    """Return the area under the ROC curve on each resample: float64 [R], NaN where undefined.

    It is the probability that an image of the class scores higher than one of the rest, ties
    counting half (Hanley and McNeil, 1982). positive: bool [N]. scores: float [N]. times: [N, R].
    """
    order = np.argsort(scores, kind="stable")
    ranked, ascending = scores[order], times[order]
    up_to = np.concatenate([np.zeros_like(times[:1]), np.cumsum(ascending, axis=0)])
    inside = positive[order]
    own = ascending[inside].astype(np.float64)
    below = up_to[np.searchsorted(ranked, ranked[inside], "left")]
    not_above = up_to[np.searchsorted(ranked, ranked[inside], "right")]
    # Among themselves, by symmetry, the positives win exactly half of all pairs: taken off again.
    count = own.sum(axis=0)
    wins = (own * (below + not_above)).sum(axis=0) / 2 - count**2 / 2
    return _ratio(wins, count * (times.sum(axis=0) - count))


def _scores(labels: Ints, probabilities: Floats, times: Floats) -> dict[str, Floats]:
    classes = probabilities.shape[1]
    scores = count_scores(labels, probabilities.argmax(axis=1), classes, times)
    areas = [roc_auc(labels == index, probabilities[:, index], times) for index in range(classes)]
    scores["roc_auc"] = np.stack(areas)
    scores["macro_roc_auc"] = _mean_of_defined(scores["roc_auc"])
    return scores


def _ratio(part: Floats, whole: Floats) -> Floats:
    ratio: Floats = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return ratio


def _mean_of_defined(values: Floats) -> Floats:
    """Average over classes, [C, R] → [R], leaving out NaN; NaN where nothing is left."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis=0), defined.sum(axis=0))


def _class_tree(found: ClassMetrics) -> dict[str, Any]:
    values = {what: getattr(found, what) for what in PER_CLASS}
    return {
        "support": found.support,
        **{what: _rounded(measured.value) for what, measured in values.items()},
        "intervals": {what: _ends(measured) for what, measured in values.items()},
    }


def _ends(found: Interval) -> list[float | None]:
    return [_rounded(found.low), _rounded(found.high)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
