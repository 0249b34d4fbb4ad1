"""Costs of confusions, the operating point that they imply → tables for the page."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from components.evaluation.operating_point import OperatingPoint

CLASSES_SHOWN = 30  # rows in the table of classes
COSTS_SHOWN = 20  # rows in the list of costs


@dataclass(frozen=True)
class ClassDecisions:
    """A class and what both ways to decide do with it.

    given: how many images get the class. recall, precision: None if undefined. Each is a pair: for
    the most probable class, and for the decision of least cost.
    """

    name: str
    given: tuple[int, int]
    recall: tuple[float | None, float | None]
    precision: tuple[float | None, float | None]


@dataclass(frozen=True)
class Costs:
    """What the page shows of the costs.

    point: the operating point. listed: (label, decision, cost), the highest cost first. more_costs:
    how many are not shown. classes: those that get more, fewer or other images, the largest
    difference first. more_classes: how many are not shown.
    """

    point: OperatingPoint
    listed: tuple[tuple[str, str, float], ...]
    more_costs: int
    classes: tuple[ClassDecisions, ...]
    more_classes: int


def cost_tables(
    costs: Mapping[str, Mapping[str, float]], point: OperatingPoint | None
) -> Costs | None:
    """Return the tables; None without an operating point.

    costs: class → decision → cost, the value `balance.costs`.
    """
    if point is None:
        return None
    listed = [
        (label, other, cost)
        for label, row in costs.items()
        for other, cost in row.items()
        if cost != 1
    ]
    listed.sort(key=lambda row: (-row[2], row[:2]))
    most, least = point.most_probable, point.least_cost
    difference = np.abs(least.given - most.given)
    order = np.argsort(-difference, kind="stable").tolist()
    # A class can get as many images as before, but other ones.
    others = ~np.isclose(most.recall, least.recall, equal_nan=True)
    changed = [index for index in order if difference[index] or others[index]]
    classes = [
        ClassDecisions(
            point.class_names[index],
            (int(most.given[index]), int(least.given[index])),
            (_defined(most.recall[index]), _defined(least.recall[index])),
            (_defined(most.precision[index]), _defined(least.precision[index])),
        )
        for index in changed[:CLASSES_SHOWN]
    ]
    return Costs(
        point,
        tuple(listed[:COSTS_SHOWN]),
        max(0, len(listed) - COSTS_SHOWN),
        tuple(classes),
        max(0, len(changed) - CLASSES_SHOWN),
    )


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
