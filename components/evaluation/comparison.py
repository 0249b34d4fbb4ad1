"""Challenger and champion on the same test images → a row per metric, with paired intervals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from components.evaluation.bootstrap import (
    Floats,
    Interval,
    Ints,
    each_once,
    interval,
    resampled,
    score_interval,
)
from components.evaluation.metrics import count_scores
from components.params.register import Register

OVERALL = ("accuracy", "balanced_accuracy", "macro_f1")


@dataclass(frozen=True)
class Comparison:
    """One metric of both models, and challenger minus champion where there is a champion.

    class_name is set for the recall of a class, and null for what is said of the model as a whole.
    """

    metric: str
    class_name: str | None
    challenger: Interval
    champion: Interval | None
    difference: Interval | None

    @property
    def title(self) -> str:
        """Name the metric in words, as in `macro F1` or `recall of glass`."""
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
    class_names in their order. Every resample draws the same images for both: what is hard about
    an image is hard for both, and leaves the difference (Efron and Tibshirani, 1993, chapter 13).
    """
    models = [challenger] if champion is None else [challenger, champion]
    predicted = [probabilities.argmax(axis=1) for probabilities in models]
    blocks = [
        np.stack([_scores(labels, each, len(class_names), times) for each in predicted])
        for times in chain(
            [each_once(len(labels))], resampled(len(labels), register.resamples, seed)
        )
    ]
    support = np.bincount(labels, minlength=len(class_names))
    images = [len(labels), None, None, *map(int, support)]
    scores = np.concatenate(blocks, axis=-1)
    return tuple(_rows(scores, images, class_names, register.confidence))


def aligned(probabilities: Floats, known: Sequence[str], class_names: Sequence[str]) -> Floats:
    """Return the columns of the `known` classes in the order of class_names: float32 [N, C].

    A champion gives probability 0 to a class that it does not know yet; what it gives to a class
    that is no more is dropped.
    """
    columns = np.zeros((len(probabilities), len(class_names)), np.float32)
    for index, name in enumerate(class_names):
        if name in known:
            columns[:, index] = probabilities[:, list(known).index(name)]
    return columns


def _scores(labels: Ints, predicted: Ints, classes: int, times: Floats) -> Floats:
    """Return the scores of some resamples, overall and recalls: float64 [3 + classes, R]."""
    found = count_scores(labels, predicted, classes, times)
    return np.vstack([*(found[name] for name in OVERALL), found["recall"]])


def _rows(
    scores: Floats, images: Sequence[int | None], class_names: Sequence[str], confidence: float
) -> Iterator[Comparison]:
    """Turn scores [models, 3 + classes, the sample and its resamples] into a row per metric.

    images: of how many images a score is a share; None where it is no share.
    """
    scores = scores.round(12)  # noise in the 16th digit must not decide whether a limit is exceeded
    names = [*((name, None) for name in OVERALL), *(("recall", name) for name in class_names)]
    for (metric, class_name), share_of, own, *other in zip(names, images, *scores, strict=True):
        ours, *theirs = (
            score_interval(values[0], values[1:], confidence, share_of) for values in (own, *other)
        )
        gaps = [(own - values).round(12) for values in other]
        differences = [interval(gap[0], gap[1:], confidence) for gap in gaps]
        yield Comparison(
            metric, class_name, ours, next(iter(theirs), None), next(iter(differences), None)
        )
