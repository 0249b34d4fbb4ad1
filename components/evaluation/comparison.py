"""Challenger and champion on the same test images → a row per metric, with paired intervals.

The champion is the model that is in use. The challenger is a new model that may replace the
champion. An interval is computed from resamples. A resample consists of images that are drawn at
random from the test split (see bootstrap.py).

"Paired" means that each resample contains the same images for the two models. An image that is hard
for one model is usually hard for the other model, too. So a resample with many hard images lowers
the scores of the two models, and changes the difference of the scores only a little. Therefore the
interval of the difference is narrower than it would be if the resamples were not paired.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from components.evaluation.bootstrap import (
    Floats,
    Interval,
    Ints,
    draw_resamples,
    interval,
    score_interval,
    whole_sample,
)
from components.evaluation.decision import decided_classes
from components.evaluation.metrics import count_scores
from components.params.register import Register

OVERALL = ("accuracy", "balanced_accuracy", "macro_f1")


@dataclass(frozen=True)
class Comparison:
    """One metric of the challenger and of the champion, and the difference of the two values.

    metric: the name of the metric, such as `macro_f1`. class_name: the name of the class if the
    metric is the recall of a class; None if the metric describes the whole model. challenger: the
    value and interval of the challenger. champion: the value and interval of the champion.
    difference: the challenger's value minus the champion's value, with an interval. If there is no
    champion, `champion` and `difference` are None.
    """

    metric: str
    class_name: str | None
    challenger: Interval
    champion: Interval | None
    difference: Interval | None

    @property
    def title(self) -> str:
        """Return the name of the metric in words, such as `macro F1` or `recall of glass`."""
        metric = self.metric.replace("_", " ").replace("f1", "F1")
        return metric if self.class_name is None else f"{metric} of {self.class_name}"


def compare(
    labels: Ints,
    challenger: Floats,
    champion: Floats | None,
    class_names: Sequence[str],
    register: Register,
    seed: int,
) -> tuple[Comparison, ...]:
    """Compare the metrics of the challenger with the metrics of the champion.

    labels: int [N], the label of each test image as an index into class_names. challenger: float
    [N, C], the finite probabilities of the challenger; column c belongs to class_names[c].
    champion: float [N, C], the finite probabilities of the champion; None if there is no champion.
    class_names: the names of the C classes. register: the section `register` of params.yaml. seed:
    the seed of the random numbers that choose the images of the bootstrap resamples.

    Returns one row for each metric. The first three rows are accuracy, balanced accuracy and macro
    F1. Then the recall of each class follows, in the order of class_names. The function `interval`
    computes the intervals of the differences, and `score_interval` computes all other intervals.
    """
    models = [challenger] if champion is None else [challenger, champion]
    predicted = [decided_classes(probabilities) for probabilities in models]
    blocks = [
        np.stack([_scores(labels, classes, len(class_names), times) for classes in predicted])
        for times in chain(
            [whole_sample(len(labels))], draw_resamples(len(labels), register.resamples, seed)
        )
    ]
    support = np.bincount(labels, minlength=len(class_names))
    images = [len(labels), None, None, *map(int, support)]
    scores = np.concatenate(blocks, axis=-1)
    return tuple(_rows(scores, images, class_names, register.confidence))


def align_columns(
    probabilities: Floats, known: Sequence[str], class_names: Sequence[str]
) -> Floats:
    """Return the champion's probabilities with one column per current class: float32 [N, C].

    probabilities: float [N, K], the probabilities that the champion predicts. known: the names of
    the K classes that the champion was trained on; `known[k]` is the class of column k.
    class_names: the names of the C current classes. If a current class is not in `known`, its
    column of the result is 0. If a class of the champion is not in `class_names`, its column is
    left out.

    Example: the champion was trained on wood and glass. The current classes are glass and metal:

    >>> align_columns(np.array([[0.2, 0.8]]), ["wood", "glass"], ["glass", "metal"])
    array([[0.8, 0. ]], dtype=float32)
    """
    columns = np.zeros((len(probabilities), len(class_names)), np.float32)
    for index, name in enumerate(class_names):
        if name in known:
            columns[:, index] = probabilities[:, list(known).index(name)]
    return columns


def _scores(labels: Ints, predicted: Ints, classes: int, times: Floats) -> Floats:
    """Return the scores of one model on R resamples: float64 [3 + classes, R].

    The first three rows are the metrics in OVERALL. The other rows are the recall of each class.
    labels: int [N], the class index of each image. predicted: int [N], the index of the predicted
    class of each image. classes: the number of classes. times: float [N, R]; `times[n, r]` says how
    often resample r contains image n.
    """
    scores = count_scores(labels, predicted, classes, times)
    return np.vstack([*(scores[name] for name in OVERALL), scores["recall"]])


def _rows(
    scores: Floats, images: Sequence[int | None], class_names: Sequence[str], confidence: float
) -> Iterator[Comparison]:
    """Yield one Comparison for each metric.

    scores: float64 [models, 3 + classes, 1 + resamples]. `scores[0]` belongs to the challenger, and
    `scores[1]` to the champion. If there is no champion, `scores[1]` is missing. On the last axis,
    the first score is the score on the test split, and all other scores are the scores on the
    resamples. images: the argument `images` of `score_interval` for each metric. class_names: the
    names of the classes. confidence: the confidence level of the intervals.
    """
    # A rounding error in the 16th digit could decide whether a score is below a floor, or whether a
    # drop exceeds its limit. So the scores and their differences are rounded to 12 decimals.
    scores = scores.round(12)
    names = [*((name, None) for name in OVERALL), *(("recall", name) for name in class_names)]
    by_metric = zip(names, images, *scores, strict=True)
    # If there is no champion, the lists `champion`, `second`, `gaps` and `differences` are empty.
    for (metric, class_name), share_of, challenger, *champion in by_metric:
        first, *second = (
            score_interval(values[0], values[1:], confidence, share_of)
            for values in (challenger, *champion)
        )
        gaps = [(challenger - values).round(12) for values in champion]
        differences = [interval(gap[0], gap[1:], confidence) for gap in gaps]
        yield Comparison(
            metric, class_name, first, next(iter(second), None), next(iter(differences), None)
        )
