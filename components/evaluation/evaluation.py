"""All that was measured on the test split → metrics.json, metrics of MLflow, lines of text."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.evaluation.abstention import Abstention
from components.evaluation.class_table import few_images
from components.evaluation.interval import Interval
from components.evaluation.metrics import Metrics, ends, rounded
from components.evaluation.operating_point import OperatingPoint
from components.evaluation.robustness import Robustness
from components.evaluation.slices import Slices


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model does on the test split.

    k, top_k: the top-k accuracy, undefined if there are not more than k classes. operating_point:
    None without `balance.costs`. robustness: None if `evaluate.corruptions.kinds` is empty.
    """

    metrics: Metrics
    k: int
    top_k: Interval
    abstention: Abstention
    slices: Slices
    operating_point: OperatingPoint | None
    robustness: Robustness | None

    def to_tree(self) -> dict[str, Any]:
        """Return nested values for metrics.json: the numbers that a run is judged by at a glance.

        They are as many for 2 classes as for 100. Everything else has a table of its own.
        """
        tree = self.metrics.to_tree()
        figures = dict(self._figures())
        intervals = tree.pop("intervals") | {
            name: ends(figure) for name, figure in figures.items() if figure.low is not None
        }
        numbers = {name: rounded(figure.value) for name, figure in figures.items()}
        return {**tree, "top_k": self.k, **numbers, "intervals": intervals}

    def to_flat(self) -> dict[str, float]:
        """Return name → value for MLflow. Undefined values are left out.

        MLflow's page has them in this order, so the ends of the intervals are last.
        """
        figures = {name: figure.value for name, figure in self._figures()}
        further = {name: value for name, value in figures.items() if value is not None}
        values = self.metrics.to_flat() | further
        return dict(sorted(values.items(), key=lambda item: item[0].endswith(("_low", "_high"))))

    def in_words(self) -> Iterator[str]:
        """Yield a line for each part that was measured, and about classes with few images."""
        if few := few_images(self.metrics.classes):
            yield few
        yield self.slices.in_words()
        if self.operating_point is not None:
            yield self.operating_point.in_words()
        if self.robustness is not None:
            clean, corrupted = self.robustness.clean.value, self.robustness.mean_accuracy
            yield f"robustness: accuracy {clean:.3f} → {corrupted:.3f} on corrupted images"

    def _figures(self) -> Iterator[tuple[str, Interval]]:
        yield "top_k_accuracy", self.top_k
        yield "aurc", _number(self.abstention.aurc)
        weakest = self.slices.weakest
        if weakest is not None:
            yield "weakest_slice_accuracy", weakest.accuracy
        if self.operating_point is not None:
            yield "expected_cost", self.operating_point.most_probable.expected_cost
            yield "least_expected_cost", self.operating_point.least_cost.expected_cost
        if self.robustness is not None:
            yield "corruption_accuracy", _number(self.robustness.mean_accuracy)


def _number(value: float) -> Interval:
    return Interval(value, None, None)
