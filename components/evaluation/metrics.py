"""Labels and probabilities of the test split → accuracy, F1 and other metrics, with intervals.

Guarantee: the metrics have the same values as in scikit-learn; a test compares them. The same
arguments give the same values and the same intervals. An undefined metric is None (null in
metrics.json), never NaN. A macro average is the mean over all classes for which the metric is
defined. The rules for the metrics of a class are:

- If a class has no test image, its precision, recall, F1 and ROC AUC are undefined. Images of other
  classes may still be predicted as this class. These predictions are wrong, so they lower the
  recall of the other classes.
- If a class has test images but is never predicted, its precision and F1 are 0. scikit-learn does
  the same with `zero_division=0`.
- The ROC AUC of a class is undefined if no test image or every test image belongs to the class.

With these rules, balanced accuracy (Brodersen et al., 2010) equals macro recall.

Accuracy, recall and precision are shares of images, so they have Wilson's interval. The intervals
of the other metrics come from resamples.

How: the same code computes each score on the test split and on each resample. A resample consists
of images that are drawn at random from the test split (see bootstrap.py). The array `times` says
how often each resample contains each image. For the scores on the test split, `times` says that
each image occurs once.

Example: three images of the classes glass and metal.

    image   label   predicted
    a       glass   glass
    b       glass   metal
    c       metal   metal

    accuracy                     2/3, since 2 of 3 predictions are right
    recall of glass, metal       1/2, 1/1; their mean is the balanced accuracy, 3/4
    precision of glass, metal    1/1, 1/2
    F1 of glass, metal           2/3, 2/3
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.calibration.scores import Calibration, calibration
from components.errors import UserError
from components.evaluation.bootstrap import (
    draw_resamples,
    equal_weight_images,
    score_interval,
    whole_sample,
)
from components.evaluation.decision import decided_classes
from components.evaluation.interval import Bools, Floats, Interval, Ints, counted_interval
from components.model.recall import mean_of_defined, ratio
from components.params.evaluate import Evaluate

MACRO = ("accuracy", "balanced_accuracy", "macro_f1", "macro_precision", "macro_recall")
PER_CLASS = ("precision", "recall", "f1", "roc_auc")
DIGITS = 6  # the number of decimals of the values in metrics.json
# The names of some MLflow metrics contain a class name, such as `test_precision/glass`. This is the
# maximum length of the class name in characters. MLflow allows 250 characters for the whole name.
LONGEST_NAME = 200


@dataclass(frozen=True)
class ClassMetrics:
    """The metrics of one class.

    name: the name of the class. support: the number of test images of the class. The other fields
    are the metrics, with their intervals.
    """

    name: str
    support: int
    precision: Interval
    recall: Interval
    f1: Interval
    roc_auc: Interval


@dataclass(frozen=True)
class Metrics:
    """All metrics of a classifier on a test split.

    classes: the metrics of each class. confusion: `confusion[label][predicted]` is the number of
    test images with this label and this predicted class. images: the number of test images.
    confidence: the confidence level of the intervals, such as 0.95. calibration: how honest the
    probabilities are.
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
    calibration: Calibration

    def headlines(self) -> dict[str, Interval]:
        """Return name → interval for all metrics that describe the whole classifier."""
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

        An interval becomes the list [low, high]. `dvc metrics` does not show lists. So the tables
        of `dvc metrics` do not contain the intervals, and are short.
        """
        headlines = self.headlines()
        return {
            **{name: _round(figure.value) for name, figure in headlines.items()},
            **self.calibration.scores,
            "images": self.images,
            "confidence": self.confidence,
            "intervals": {name: _ends(figure) for name, figure in headlines.items()},
            "classes": {measured.name: _class_tree(measured) for measured in self.classes},
        }

    def to_flat(self) -> dict[str, float]:
        """Return name → value for MLflow. Examples: `macro_f1`, `macro_f1_low`, `recall/glass`.

        Undefined values are left out. MLflow may refuse long names and special characters. So a
        class name is used only if it has at most LONGEST_NAME characters, and if all its characters
        are letters, digits, spaces, hyphens or underscores. Any other class name is replaced by the
        word `class` and the index of the class, for example `recall/class 3`.
        """
        values: dict[str, float | None] = {**self.calibration.scores}
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
    """Return the metrics of a classifier, with intervals.

    labels: int [N], the label of each test image as an index into class_names. probabilities:
    float [N, C]; column c belongs to class_names[c]. class_names: the names of the C classes.
    evaluate: the section `evaluate` of params.yaml. seed: the seed of the random numbers that
    choose the images of the resamples. Raises UserError if N is 0, or if a probability is NaN or
    infinite.

    Accuracy and the recall and precision of a class have Wilson's interval. All other metrics have
    the interval of `score_interval`.
    """
    check_finite(probabilities)
    scores = _scores(labels, probabilities, whole_sample(len(labels)))
    blocks = [
        _scores(labels, probabilities, times)
        for times in draw_resamples(labels, evaluate.resamples, seed)
    ]
    draws = {name: np.concatenate([block[name] for block in blocks], axis=-1) for name in scores}

    counts = confusion_counts(labels, probabilities)
    hits, support = counts.diagonal(), counts.sum(axis=1)
    confidence = evaluate.confidence

    def share(part: int, whole: int) -> Interval:
        return counted_interval(int(part), int(whole), confidence)

    def macro(name: str) -> Interval:
        images = None if name == "macro_roc_auc" else equal_weight_images(support)
        return score_interval(scores[name][0], draws[name], confidence, images)

    def of_class(name: str, index: int) -> Interval:
        return score_interval(scores[name][index, 0], draws[name][index], confidence, None)

    classes = [
        ClassMetrics(
            name,
            int(support[index]),
            precision=_precision(counts, index, confidence),
            recall=share(hits[index], support[index]),
            f1=of_class("f1", index),
            roc_auc=of_class("roc_auc", index),
        )
        for index, name in enumerate(class_names)
    ]
    return Metrics(
        accuracy=share(hits.sum(), len(labels)),
        **{name: macro(name) for name in (*MACRO[1:], "macro_roc_auc")},
        classes=tuple(classes),
        confusion=tuple(tuple(map(int, row)) for row in counts),
        images=len(labels),
        confidence=confidence,
        calibration=calibration(labels, probabilities),
    )


def check_finite(probabilities: Floats) -> None:
    """Raise UserError if there is no image, or if a probability is NaN or infinite.

    probabilities: float [N, C], the probabilities of C classes for N images.
    """
    if len(probabilities) == 0:
        raise UserError(
            "the test split has no image; add images, or raise split.test. Received: 0 images"
        )
    broken = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if broken:
        raise UserError(
            "the classifier must give finite probabilities; train it again with a lower "
            f"learning rate. Received: NaN or infinity for {broken} of {len(probabilities)} images"
        )


def confusion_counts(labels: Ints, probabilities: Floats) -> Ints:
    """Return the number of images for each label (row) and predicted class (column): int64 [C, C].

    labels: int [N], class indices. probabilities: float [N, C].

    >>> confusion_counts(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]]))
    array([[1, 1],
           [1, 0]])
    """
    classes = probabilities.shape[1]
    cells = labels * classes + decided_classes(probabilities)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def count_scores(labels: Ints, predicted: Ints, classes: int, times: Floats) -> dict[str, Floats]:
    """Return every score except ROC AUC, on each resample. See `roc_auc` for ROC AUC.

    labels: int [N], the class index of each image. predicted: int [N], the index of the predicted
    class of each image. classes: the number of classes. times: float [N, R]; `times[n, r]` says how
    often resample r contains image n.

    Returns a dict from the name of a score to an array. For the names in MACRO the array is float64
    [R]. For `precision`, `recall` and `f1` the array is float64 [classes, R]. A score is NaN if it
    is undefined.
    """
    hit = labels == predicted
    hits = sum_by_class(labels[hit], times[hit], classes)
    given, support = (sum_by_class(values, times, classes) for values in (predicted, labels))
    recall = ratio(hits, support)
    # For each class, `support` is the number of its images, `given` is the number of images that
    # were predicted as the class, and `hits` is the number of correct predictions of the class. If
    # the class is never predicted, `given` and `hits` are 0, so its precision is 0 / 1 = 0. If a
    # resample contains no image of a class, all scores of the class are NaN.
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


def sum_by_class(values: Ints, times: Floats, classes: int) -> Floats:
    """Return the sums of the rows of `times` that belong to each class: float64 [classes, R].

    values: int [N], the class index of each row. times: float [N, R].

    >>> sum_by_class(np.array([1, 0, 1]), np.array([[1.0], [2.0], [3.0]]), classes=2)
    array([[2.],
           [4.]])
    """
    from scipy.sparse import csr_array

    # A dense matrix with a column for each class would need gigabytes for many classes and images.
    rows = (np.ones(len(values), np.float32), (values, np.arange(len(values))))
    return np.asarray((csr_array(rows, shape=(classes, len(values))) @ times).astype(np.float64))


def roc_auc(positive: Bools, scores: Floats, times: Floats) -> Floats:
    """Return the area under the ROC curve on each resample: float64 [R], NaN if undefined.

    Compare each image of the class with each image of the other classes. The image of the class
    wins if it has the higher score; equal scores are half a win. The area is the number of wins
    divided by the number of comparisons (Hanley and McNeil, 1982). The area is undefined if the
    resample contains no image of the class, or no image of another class.

    positive: bool [N], True if an image belongs to the class. scores: float [N], the probability of
    the class for each image. times: float [N, R]; `times[n, r]` says how often resample r contains
    image n.

    Example: an image of the class has the score 0.7. Two images of other classes have the scores
    0.1 and 0.7. The first comparison is a win and the second comparison is half a win, so the area
    is 1.5 / 2:

    >>> positive, scores = np.array([True, False, False]), np.array([0.7, 0.1, 0.7])
    >>> roc_auc(positive, scores, whole_sample(3))
    array([0.75])
    """
    order = np.argsort(scores, kind="stable")
    ranked, ascending = scores[order], times[order]
    up_to = np.concatenate([np.zeros_like(times[:1]), np.cumsum(ascending, axis=0)])
    inside = positive[order]
    positives = ascending[inside].astype(np.float64)
    # A "positive" is an image of the class. For each positive, `below` is the number of images with
    # a lower score, and `not_above` is the number of images with a lower or an equal score. The
    # mean of these two numbers is the number of wins of the positive against all images.
    below = up_to[np.searchsorted(ranked, ranked[inside], "left")]
    not_above = up_to[np.searchsorted(ranked, ranked[inside], "right")]
    # "All images" includes the positives. So the wins of positives against positives must be
    # subtracted. The number of these wins is count**2 / 2, for the following reason. Each positive
    # was compared with each positive, also with itself. These are count**2 comparisons. On average
    # a comparison gives half a win: two positives `p` and `q` are compared twice, `p` with `q` and
    # `q` with `p`. If the scores differ, one comparison is a win and the other comparison is not.
    # If the scores are equal, each comparison is half a win. The comparison of a positive with
    # itself is also half a win.
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


def _precision(counts: Ints, index: int, confidence: float) -> Interval:
    """Return the precision of a class by the rules at the top of this file, with its interval."""
    support, given = int(counts[index].sum()), int(counts[:, index].sum())
    if support and not given:  # never predicted: 0 by definition, so no images give an interval
        return Interval(0.0, None, None)
    return counted_interval(int(counts[index, index]), given if support else 0, confidence)


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
