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

from collections.abc import Mapping, Sequence
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
from components.evaluation.finite import check_finite
from components.evaluation.interval import (
    UNDEFINED,
    Floats,
    Interval,
    Ints,
    counted_interval,
)
from components.evaluation.scores import MACRO, count_scores, roc_auc
from components.model.recall import mean_of_defined
from components.params.evaluate import Evaluate

PER_CLASS = ("precision", "recall", "f1", "roc_auc")
DIGITS = 6  # the number of decimals of the values in metrics.json
# The maximum of images * classes * resamples for which ROC AUC has an interval: about 10 s.
MOST_COMPARISONS = 2_000_000_000


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

    classes: the metrics of each class. confusion: (label, predicted class), as indices → number of
    test images; pairs without an image are left out. images: the number of test images.
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
    confusion: Mapping[tuple[int, int], int]
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
        of `dvc metrics` do not contain the intervals, and are short. The metrics of the classes are
        in classes.csv, see `class_table`.
        """
        headlines = self.headlines()
        return {
            **{name: rounded(figure.value) for name, figure in headlines.items()},
            **self.calibration.scores,
            "images": self.images,
            "confidence": self.confidence,
            "intervals": {name: ends(figure) for name, figure in headlines.items()},
        }

    def to_flat(self) -> dict[str, float]:
        """Return name → value for MLflow, such as `macro_f1` and `macro_f1_low`.

        Undefined values are left out. The metrics of the classes are in a table, see `class_table`.
        """
        values: dict[str, float | None] = {}
        for name, figure in self.headlines().items():
            values |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
        values |= self.calibration.scores
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
    the interval of `score_interval`. If there are very many images and classes, ROC AUC has no
    interval, see `areas_have_intervals`.
    """
    check_probabilities(probabilities)
    scores = _scores(labels, probabilities, whole_sample(len(labels)), areas=True)
    with_areas = areas_have_intervals(len(labels), len(class_names), evaluate.resamples)
    blocks = [
        _scores(labels, probabilities, times, with_areas)
        for times in draw_resamples(labels, evaluate.resamples, seed)
    ]
    resampled = [name for name in blocks[0] if name not in ("precision", "recall")]
    draws = {name: np.concatenate([block[name] for block in blocks], axis=-1) for name in resampled}

    predicted, classes_count = decided_classes(probabilities), len(class_names)
    hits = np.bincount(labels[labels == predicted], minlength=classes_count)
    support, given = (np.bincount(each, minlength=classes_count) for each in (labels, predicted))
    confidence = evaluate.confidence

    def share(part: int, whole: int) -> Interval:
        return counted_interval(int(part), int(whole), confidence)

    def macro(name: str) -> Interval:
        if name not in draws:
            return _without_interval(scores[name][0])
        images = None if name == "macro_roc_auc" else equal_weight_images(support)
        return score_interval(scores[name][0], draws[name], confidence, images)

    def of_class(name: str, index: int) -> Interval:
        if name not in draws:
            return _without_interval(scores[name][index, 0])
        return score_interval(scores[name][index, 0], draws[name][index], confidence, None)

    classes = [
        ClassMetrics(
            name,
            int(support[index]),
            precision=_precision(hits[index], support[index], given[index], confidence),
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
        confusion=confusion(labels, predicted),
        images=len(labels),
        confidence=confidence,
        calibration=calibration(labels, probabilities),
    )


def areas_have_intervals(images: int, classes: int, resamples: int) -> bool:
    """Return whether ROC AUC has an interval: not if it would take longer than MOST_COMPARISONS.

    >>> areas_have_intervals(2_000, 100, 2_000), areas_have_intervals(20_000, 10_000, 2_000)
    (True, False)
    """
    return images * classes * resamples <= MOST_COMPARISONS


def check_probabilities(probabilities: Floats) -> None:
    """Raise UserError if there is no image, or if a probability is NaN or infinite.

    probabilities: float [N, C], the probabilities of C classes for N images.
    """
    if len(probabilities) == 0:
        raise UserError(
            "the test split has no image; add images, or raise split.test. Received: 0 images"
        )
    check_finite(probabilities)


def confusion(labels: Ints, predicted: Ints) -> dict[tuple[int, int], int]:
    """Return (label, predicted class) → number of images, for all pairs that have an image.

    labels, predicted: int [N], class indices. A matrix of 10,000 classes would need 800 MB.

    >>> confusion(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 0]))
    {(0, 0): 1, (0, 1): 1, (1, 0): 2}
    """
    pairs, images = np.unique(np.stack([labels, predicted]), axis=1, return_counts=True)
    return {
        (label, decision): count
        for label, decision, count in zip(*pairs.tolist(), images.tolist(), strict=True)
    }


def _scores(labels: Ints, probabilities: Floats, times: Floats, areas: bool) -> dict[str, Floats]:
    classes = probabilities.shape[1]
    scores = count_scores(labels, decided_classes(probabilities), classes, times)
    if not areas:
        return scores
    scores["roc_auc"] = np.stack(
        [roc_auc(labels == index, probabilities[:, index], times) for index in range(classes)]
    )
    scores["macro_roc_auc"] = mean_of_defined(scores["roc_auc"])
    return scores


def _without_interval(value: float) -> Interval:
    return UNDEFINED if np.isnan(value) else Interval(float(value), None, None)


def _precision(hits: int, support: int, given: int, confidence: float) -> Interval:
    """Return the precision of a class by the rules at the top of this file, with its interval.

    hits: its images that are predicted as the class. support: its images. given: all images that
    are predicted as the class.
    """
    if support and not given:  # never predicted: 0 by definition, so no images give an interval
        return Interval(0.0, None, None)
    return counted_interval(int(hits), int(given) if support else 0, confidence)


def ends(figure: Interval) -> list[float | None]:
    """Return [low, high] of an interval for metrics.json."""
    return [rounded(figure.low), rounded(figure.high)]


def rounded(value: float | None) -> float | None:
    """Return a value with DIGITS decimals."""
    return None if value is None else round(value, DIGITS)
