"""Numbers → positions and sizes of charts, which `charts.html.jinja` draws as SVG.

The data report has histograms of facts. The test report has line charts of the training. All
positions are in units of the SVG image, and y grows downwards.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

# The plot of a line chart. The names of the lines are to the right of the plot.
LEFT, RIGHT, TOP, BOTTOM = 44.0, 472.0, 26.0, 216.0
NAME_DISTANCE = 15.0  # minimum distance of two names, so that they do not overlap

# The plot of a histogram. The labels of its axis are below the plot.
WIDTH, HEIGHT = 300.0, 84.0
LOWEST = 2.0  # minimum height of a column, so that a column of one file is visible
GAP = 1.5  # between two columns
MOST = 0.5  # If one column has a larger share of all files, heights are logarithmic.
LABEL_INTERVALS = range(3, 7)  # An axis has 3 to 6 intervals, so that its labels do not overlap.


@dataclass(frozen=True)
class Tick:
    """A mark on an axis. at: its position along the axis; text: its label."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """A curve of a line chart.

    points: the attribute `points` of an SVG polyline. x, y: position of the last point. name_y:
    height at which the name is written. last: value of the last point.
    """

    name: str
    points: str
    x: float
    y: float
    name_y: float
    last: float


@dataclass(frozen=True)
class Phase:
    """A phase of the training. start, end: positions on the x axis between which its epochs are."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class LineChart:
    """Curves over epochs, ready to draw."""

    title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    phases: tuple[Phase, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Column:
    """A column of a histogram: a rectangle, and the bin that it shows.

    low, high: the edges of the bin as text. count: how many values are in the bin.
    """

    x: float
    y: float
    width: float
    height: float
    low: str
    high: str
    count: int


@dataclass(frozen=True)
class Histogram:
    """A histogram, ready to draw.

    median: position of the median along the axis, None if there is no value. is_log: True if the
    heights of columns grow with the logarithm of the counts.
    """

    columns: tuple[Column, ...]
    ticks: tuple[Tick, ...]
    median: float | None
    is_log: bool


def round_steps(low: float, high: float, steps: int) -> list[float]:
    """Return round numbers for the labels of an axis that shows `low` to `high`.

    There are about `steps` equal steps from the first number to the last. The first number is at
    most `low`, and the last number is at least `high`.

    >>> round_steps(12, 3100, 5)
    [0.0, 1000.0, 2000.0, 3000.0, 4000.0]
    """
    rough = max(high - low, 1e-9) / steps
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * index, 10) for index in range(first, max(last, first + 1) + 1)]


def line_chart(
    title: str, curves: Mapping[str, Sequence[float]], phases: Sequence[str]
) -> LineChart:
    """Draw values by epoch.

    curves: name → one value for each epoch. phases: the name of the phase of each epoch. Values
    that are not finite are left out, so that one diverged epoch does not hide the other epochs.
    """
    finite = [value for values in curves.values() for value in values if math.isfinite(value)]
    steps = round_steps(min(finite), max(finite), 5) if finite else [0.0, 1.0]
    axes = _Axes(len(phases), steps[0], steps[-1])
    distance = max(1, math.ceil(len(phases) / 10))
    return LineChart(
        title,
        x_ticks=tuple(
            Tick(axes.x(epoch), str(epoch)) for epoch in range(distance, axes.epochs + 1, distance)
        ),
        y_ticks=tuple(Tick(axes.y(value), f"{value:g}") for value in steps),
        phases=tuple(_phases(phases, axes)),
        lines=_separate_names(
            [_line(name, values, axes) for name, values in curves.items() if _has_finite(values)]
        ),
    )


@dataclass(frozen=True)
class _Axes:
    epochs: int
    low: float
    high: float

    def x(self, epoch: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (epoch - 0.5) / self.epochs, 1)

    def y(self, value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - self.low) / (self.high - self.low), 1)


def _has_finite(values: Iterable[float]) -> bool:
    return any(map(math.isfinite, values))


def _line(name: str, values: Iterable[float], axes: _Axes) -> Line:
    known = [(epoch, value) for epoch, value in enumerate(values, 1) if math.isfinite(value)]
    points = [(axes.x(epoch), axes.y(value)) for epoch, value in known]
    x, y = points[-1]
    return Line(name, " ".join(f"{a},{b}" for a, b in points), x, y, y, known[-1][1])


def _phases(phases: Sequence[str], axes: _Axes) -> Iterator[Phase]:
    before = 0
    for name, rows in groupby(phases):
        epochs = len(list(rows))
        yield Phase(name, axes.x(before + 0.5), axes.x(before + epochs + 0.5))
        before += epochs


def _separate_names(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Move names of lines down until no two names overlap, from the highest to the lowest line."""
    placed: list[Line] = []
    for line in sorted(lines, key=lambda line: line.y):
        above = placed[-1].name_y if placed else -math.inf
        placed.append(replace(line, name_y=max(line.y, above + NAME_DISTANCE)))
    return tuple(placed)


def histogram(
    edges: Sequence[float],
    counts: Sequence[int],
    median: float | None,
    write: Callable[[float], str],
) -> Histogram:
    """Draw bins as columns, all with the same width.

    edges: [n + 1], rising. counts: [n]. median: None if there is no value. write: edge → its text.

    If the bins differ in width, their axis covers orders of magnitude. In this case empty bins at
    the ends are left out, except one at each end. If one bin has more than the share MOST of all
    counts, and another bin is not empty, heights are logarithmic. With linear heights, the other
    columns would be too low to see.
    """
    if not _has_equal_bins(edges):
        edges, counts = _trim(edges, counts)
    most = max(counts)
    is_log = MOST * sum(counts) < most < sum(counts)
    step = WIDTH / len(counts)
    return Histogram(
        columns=tuple(
            _column(number * step, step, count, _height(count, most, is_log), write(low), write(up))
            for number, (count, (low, up)) in enumerate(zip(counts, pairwise(edges), strict=True))
            if count
        ),
        ticks=tuple(
            Tick(round(number * step, 1), write(edges[number]))
            for number in range(0, len(edges), _bins_per_label(len(counts)))
        ),
        median=None if median is None else round(_position(median, edges) * step, 1),
        is_log=is_log,
    )


def _has_equal_bins(edges: Sequence[float]) -> bool:
    widths = [high - low for low, high in pairwise(edges)]
    return max(widths) < 1.01 * min(widths)


def _trim(edges: Sequence[float], counts: Sequence[int]) -> tuple[Sequence[float], list[int]]:
    filled = [number for number, count in enumerate(counts) if count] or [0, len(counts) - 1]
    first, last = max(0, filled[0] - 1), min(len(counts), filled[-1] + 2)
    return edges[first : last + 1], list(counts[first:last])


def _column(x: float, step: float, count: int, height: float, low: str, high: str) -> Column:
    gap = min(GAP, step / 4)
    x, width = round(x + gap / 2, 1), round(step - gap, 1)
    return Column(x, round(HEIGHT - height, 1), width, round(height, 1), low, high, count)


def _height(count: int, most: int, is_log: bool) -> float:
    share = math.log1p(count) / math.log1p(most) if is_log else count / most
    return max(LOWEST, HEIGHT * share)


def _bins_per_label(bins: int) -> int:
    """Return the number of bins from one label of the axis to the next.

    It divides the number of bins if possible, so that the last edge has a label as well.
    """
    fitting = [
        number
        for number in range(1, bins + 1)
        if bins % number == 0 and bins // number in LABEL_INTERVALS
    ]
    return fitting[-1] if fitting else math.ceil(bins / LABEL_INTERVALS[-1])


def _position(value: float, edges: Sequence[float]) -> float:
    """Return the position of a value on the axis, counted in bins."""
    number = min(max(bisect_right(edges, value) - 1, 0), len(edges) - 2)
    low, high = edges[number : number + 2]
    return number + min(max((value - low) / (high - low), 0.0), 1.0)
