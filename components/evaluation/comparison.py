"""Challenger and champion on the same test images → a row per metric, with paired intervals.

"Paired" means that each resample contains the same images for the two models. An image that is hard
for one model is mostly hard for the other, and this cancels out in the difference of the two
scores. So the interval of the difference is narrower than the interval of either score.
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
    """One metric of the challenger and of the champion, and the challenger's minus the champion's.

    class_name: the class if the metric is the recall of a class; None if the metric is about the
    whole model. champion, difference: None if there is no champion.
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
    """Compare the models by accuracy, balanced accuracy, macro F1 and the recall of each class.

    labels: int [N], indices into class_names. challenger, champion: float [N, C], finite
    probabilities; column c belongs to class_names[c]. champion: None if there is no champion.
    Intervals: Efron and Tibshirani, 1993, chapter 13.

    Returns one row for each metric: the three metrics of the whole model in the order above, then
    the recall of each class in the order of class_names.
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
    """Return a champion's probabilities with one column for each of class_names: float32 [N, C].

    probabilities: float [N, K]. known: the K class names that the champion was trained on, in the
    order of its columns. A class that the champion does not know gets probability 0. The column of
    a class that is not in class_names is dropped.

    The champion knows wood and glass; the classes are now glass and metal:

    >>> align_columns(np.array([[0.2, 0.8]]), ["wood", "glass"], ["glass", "metal"])
    array([[0.8, 0. ]], dtype=float32)
    """
    columns = np.zeros((len(probabilities), len(class_names)), np.float32)
    for index, name in enumerate(class_names):
        if name in known:
            columns[:, index] = probabilities[:, list(known).index(name)]
    return columns


def _scores(labels: Ints, predicted: Ints, classes: int, times: Floats) -> Floats:
    """Return float64 [3 + classes, R]: scores on R resamples. Rows: OVERALL, then each recall."""
    scores = count_scores(labels, predicted, classes, times)
    return np.vstack([*(scores[name] for name in OVERALL), scores["recall"]])


def _rows(
    scores: Floats, images: Sequence[int | None], class_names: Sequence[str], confidence: float
) -> Iterator[Comparison]:
    """Yield one Comparison for each metric.

    scores: float64 [models, 3 + classes, 1 + resamples]; models is 1 or 2, the challenger first.
    The first column holds the scores on the test split itself. images: for each metric, the
    number of images that it is a share of; None if it is not a share of images.
    """
    # Rounding errors in the 16th digit must not decide whether a limit is exceeded.
    scores = scores.round(12)
    names = [*((name, None) for name in OVERALL), *(("recall", name) for name in class_names)]
    by_metric = zip(names, images, *scores, strict=True)
    # The list `champion` is empty if there is no champion, and so is everything made from it.
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
