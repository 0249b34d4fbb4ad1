"""Slices of the test images → rows of an interval chart, the weakest first."""

from collections.abc import Sequence
from dataclasses import dataclass

from components.evaluation.page.axis import Axis, axis_of
from components.evaluation.slices import Slice, Slices

SHOWN = 40  # rows of the chart


@dataclass(frozen=True)
class SliceChart:
    """The interval chart.

    rows: the slices, the lowest accuracy first. left_out: how many are not shown. axis: of the
    bars.
    """

    rows: tuple[Slice, ...]
    left_out: int
    axis: Axis


def slice_chart(slices: Slices) -> SliceChart | None:
    """Return the chart; None if there is no slice with an image."""
    rows = _weakest_first([found for found in slices.slices if found.images])
    if not rows:
        return None
    shown = rows[:SHOWN]
    return SliceChart(
        tuple(shown), len(rows) - len(shown), axis_of(found.accuracy for found in shown)
    )


def _weakest_first(found: Sequence[Slice]) -> list[Slice]:
    """Return the slices sorted by accuracy; those that are surely weak come first."""
    return sorted(found, key=lambda each: (not each.weak, each.accuracy.value or 0.0, each.name))
