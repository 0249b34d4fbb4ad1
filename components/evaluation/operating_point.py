"""Labels, probabilities and costs of confusions → what decisions cost, and the cheapest decisions.

There are two ways to decide. `most_probable` is what the classifier predicts: the class with the
highest probability. `least_cost` decides for the class with the lowest expected cost (Elkan, 2001).
The operating point of the costs is what the second way gives: which share of each class is
recognised, and how often each class is given wrongly.

Example: metal that is called glass costs 5, all other confusions cost 1. An image has the
probabilities glass 0.7 and metal 0.3. The expected cost of `glass` is 0.3 * 5, that of `metal` is
0.7 * 1, so the decision is `metal`. More metal is found, and more glass is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from components.evaluation.bootstrap import (
    draw_resamples,
    percentile_interval,
    score_interval,
    whole_sample,
)
from components.evaluation.decision import cheapest_decisions, decided_classes
from components.evaluation.interval import Floats, Interval, Ints, counted_interval
from components.evaluation.scores import count_scores
from components.params.evaluate import Evaluate

DIGITS = 6


@dataclass(frozen=True, eq=False)
class Decisions:
    """How one way to decide does on the test split.

    expected_cost: the mean cost of an image, at least 0, with an interval from the bootstrap.
    accuracy: the share of right decisions, with Wilson's interval. balanced_accuracy: the mean
    recall. recall, precision: float64 [C], NaN if undefined. given: int64 [C], the number of images
    that got each class.
    """

    expected_cost: Interval
    accuracy: Interval
    balanced_accuracy: float
    recall: Floats
    precision: Floats
    given: Ints


@dataclass(frozen=True, eq=False)
class OperatingPoint:
    """What the costs imply.

    most_probable, least_cost: the two ways to decide, see above. saving: by how much `least_cost`
    lowers the expected cost, with the percentile interval of the bootstrap; negative if it raises
    it, as can be if the probabilities are not honest. changed: the number of images for which the
    decisions differ. threshold: with two classes, the probability of the second class from which on
    it is cheaper to decide for it (Elkan, 2001, eq. 2); None with more classes.
    """

    class_names: tuple[str, ...]
    most_probable: Decisions
    least_cost: Decisions
    saving: Interval
    changed: int
    images: int
    threshold: float | None

    def in_words(self) -> str:
        """Return what the decisions of least cost save, in one line."""
        most, least = self.most_probable, self.least_cost
        return (
            f"costs: {most.expected_cost.value:.3f} an image for the most probable class, "
            f"{least.expected_cost.value:.3f} for the decision of least cost, which differs for "
            f"{self.changed} of {self.images} images"
        )


def operating_point(
    labels: Ints,
    probabilities: Floats,
    costs: Floats | None,
    class_names: Sequence[str],
    evaluate: Evaluate,
    seed: int,
) -> OperatingPoint | None:
    """Return what the two ways to decide cost on the test split; None without costs.

    labels: int [N], N > 0, class indices. probabilities: float [N, C]. costs: float [C, C], see
    `cost_matrix`. evaluate: confidence level and number of resamples. seed: the seed of the
    resamples.
    """
    if costs is None:
        return None
    decided = [decided_classes(probabilities), cheapest_decisions(probabilities, costs)]
    paid = np.stack([costs[labels, classes] for classes in decided])
    blocks = draw_resamples(labels, evaluate.resamples, seed)
    draws = np.concatenate([paid @ times / len(labels) for times in blocks], axis=1)
    describe = partial(_describe, labels, costs, evaluate.confidence)
    most, least = (describe(*each) for each in zip(decided, paid, draws, strict=True))
    saved = float((paid[0] - paid[1]).mean())
    return OperatingPoint(
        tuple(class_names),
        most,
        least,
        percentile_interval(saved, draws[0] - draws[1], evaluate.confidence),
        changed=int((decided[0] != decided[1]).sum()),
        images=len(labels),
        threshold=float(costs[0, 1] / (costs[0, 1] + costs[1, 0])) if len(costs) == 2 else None,
    )


def point_table(point: OperatingPoint | None) -> pd.DataFrame:
    """Return recall, precision and number of predictions of each class for both ways to decide.

    Columns of the result: `class`, then for example `recall_most_probable` and `recall_least_cost`.
    Without an operating point the table has no row.
    """
    if point is None:
        return pd.DataFrame(columns=["class"])
    ways = {"most_probable": point.most_probable, "least_cost": point.least_cost}
    columns = {
        f"{figure}_{way}": getattr(decisions, figure)
        for figure in ("recall", "precision", "given")
        for way, decisions in ways.items()
    }
    return pd.DataFrame({"class": point.class_names, **columns}).round(DIGITS)


def _describe(
    labels: Ints, costs: Floats, confidence: float, decided: Ints, paid: Floats, draws: Floats
) -> Decisions:
    scores = count_scores(labels, decided, len(costs), whole_sample(len(labels)))
    return Decisions(
        _cost_interval(float(paid.mean()), draws, float(costs.max()), confidence, len(labels)),
        counted_interval(int((decided == labels).sum()), len(labels), confidence),
        float(scores["balanced_accuracy"][0]),
        scores["recall"][:, 0],
        scores["precision"][:, 0],
        np.bincount(decided, minlength=len(costs)),
    )


def _cost_interval(
    value: float, draws: Floats, most: float, confidence: float, images: int
) -> Interval:
    """Return the interval of a mean cost.

    It is that of the share value / most (see `score_interval`), so it has a width even if no image
    costs anything, and if all costs are 1, it is Wilson's interval of the share of wrong images.
    """
    share = score_interval(value / most, draws / most, confidence, images)
    low, high = (end if end is None else end * most for end in (share.low, share.high))
    return Interval(value, low, high)
