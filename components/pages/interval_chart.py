"""Names, values and their intervals → the positions of a chart with a row for each name.

A row has a disc at the value, and a line from the lower to the upper end of the interval.
`interval_chart.html.jinja` draws it as SVG. All positions are in units of the SVG image.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from components.pages.charts import Tick, round_steps

# The left and the right edge of the plot. The names of the rows are to the left of it.
LEFT, RIGHT, TOP = 180.0, 500.0, 14.0
ROW = 22.0  # the height of a row


@dataclass(frozen=True)
class Row:
    """A row of the chart. y: its height. x, low, high: the x positions of value and interval."""

    name: str
    y: float
    x: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class IntervalChart:
    """The parts of the chart. zero: the x position of the value 0. bottom: the end of the plot."""

    title: str
    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    zero: float
    bottom: float


def interval_chart(
    title: str, intervals: Mapping[str, tuple[float, float, float]]
) -> IntervalChart:
    """Compute the chart. The axis always shows 0.

    title: the title of the chart. intervals: name of a row → (low, value, high).

    >>> chart = interval_chart("gain", {"a": (-1.0, 0.0, 1.0)})
    >>> chart.rows[0].x == chart.zero == (LEFT + RIGHT) / 2
    True
    """
    ends = [0.0, *(end for interval in intervals.values() for end in interval)]
    steps = round_steps(min(ends), max(ends), 4)

    def x(value: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (value - steps[0]) / (steps[-1] - steps[0]), 1)

    rows = tuple(
        Row(name, TOP + ROW * (number + 0.5), x(value), x(low), x(high), f"{value:+.3f}")
        for number, (name, (low, value, high)) in enumerate(intervals.items())
    )
    ticks = tuple(Tick(x(value), f"{value:g}") for value in steps)
    return IntervalChart(title, rows, ticks, x(0.0), TOP + ROW * len(rows))
