"""Challenger and champion on the same test images → a row per metric, with paired intervals.

Every resample draws the same images for both models. An image that is hard is hard for both, and
this cancels out in the difference, so its interval is narrower than the intervals of the two.
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
    """One metric of both models, and challenger minus champion where there is a champion.

    class_name: the class, for its recall; null for metrics of the model as a whole.
    """

    metric: str
    class_name: str | None
    challenger: Interval
    champion: Interval | None
    difference: Interval | None

    @property
    def title(self) -> str:
        """Return the metric in words, such as `macro F1` or `recall of glass`."""
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
    """Compare both by accuracy, balanced accuracy, macro F1 and the recall of each class.

    labels: int [N], indices into class_names. challenger, champion: float [N, C], probabilities of
    class_names in their order. Intervals: Efron and Tibshirani, 1993, chapter 13.
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
    """Return a champion's probabilities with a column for each of class_names: float32 [N, C].

    known: the classes of its columns. A class that it does not know has probability 0; the column
    of a class that no longer exists is dropped.

    >>> align_columns(np.array([[0.2, 0.8]]), ["wood", "glass"], ["glass", "metal"])
    array([[0.8, 0. ]], dtype=float32)
    """
    columns = np.zeros((len(probabilities), len(class_names)), np.float32)
    for index, name in enumerate(class_names):
        if name in known:
            columns[:, index] = probabilities[:, list(known).index(name)]
    return columns


def _scores(labels: Ints, predicted: Ints, classes: int, times: Floats) -> Floats:
    """Return the scores on R resamples, first OVERALL, then recalls: float64 [3 + classes, R]."""
    scores = count_scores(labels, predicted, classes, times)
    return np.vstack([*(scores[name] for name in OVERALL), scores["recall"]])


def _rows(
    scores: Floats, images: Sequence[int | None], class_names: Sequence[str], confidence: float
) -> Iterator[Comparison]:
    """Turn scores [models, 3 + classes, 1 + resamples] into a row per metric.

    The first column is the test split itself. images: how many images a score is a share of; None
    where it is no share.
    """
    scores = scores.round(12)  # noise in the 16th digit must not decide whether a limit is exceeded
    names = [*((name, None) for name in OVERALL), *(("recall", name) for name in class_names)]
    by_metric = zip(names, images, *scores, strict=True)
    for (metric, class_name), share_of, challenger, *champion in by_metric:  # a champion or none
        first, *second = (
            score_interval(values[0], values[1:], confidence, share_of)
            for values in (challenger, *champion)
        )
        gaps = [(challenger - values).round(12) for values in champion]
        differences = [interval(gap[0], gap[1:], confidence) for gap in gaps]
        yield Comparison(
            metric, class_name, first, next(iter(second), None), next(iter(differences), None)
        )
