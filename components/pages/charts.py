"""Numbers → line charts and histograms as plain geometry, which `charts.html.jinja` draws as SVG.

Both reports draw with these: the data report histograms of facts, the test report curves of the
training. All positions are SVG units inside of the chart, y grows downwards.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

# A line chart; the lines are named to the right of the plot.
LEFT, RIGHT, TOP, BOTTOM = 44.0, 472.0, 26.0, 216.0
NAME_DISTANCE = 15.0  # between two names, so that both can be read

# A histogram; the labels of its axis are below the plot.
WIDTH, HEIGHT = 300.0, 84.0
LOWEST = 2.0  # height of a column of one file, so that it is visible
GAP = 1.5
MOST = 0.5  # of all; a column with more would flatten the others
LABEL_INTERVALS = range(3, 7)  # of an axis, so that its labels do not touch


@dataclass(frozen=True)
class Tick:
    """A mark on an axis, at `at` along it."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """A curve: `points` is an SVG points list, x and y its end; its name is written at name_y."""

    name: str
    points: str
    x: float
    y: float
    name_y: float
    last: float


@dataclass(frozen=True)
class Phase:
    """A stretch of epochs between `start` and `end` on the x axis."""

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
    """A bin: a rectangle on the axis, the edges of the bin in words, and its count."""

    x: float
    y: float
    width: float
    height: float
    low: str
    high: str
    count: int


@dataclass(frozen=True)
class Histogram:
    """A histogram, ready to draw; is_log: heights grow with the logarithm of the counts.

    median: its position along the axis, None where nothing was counted.
    """

    columns: tuple[Column, ...]
    ticks: tuple[Tick, ...]
    median: float | None
    is_log: bool


def round_steps(low: float, high: float, steps: int) -> list[float]:
    """Return about `steps` round numbers, the first at or below low, the last at or above high.

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
    """Chart values by epoch. curves: name → a value for each epoch; phases: the name of each epoch.

    Values that are not finite are left out, so that one diverged epoch does not hide the others.
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
    """Move the name of the lower line down until both can be read."""
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
    """Lay out bins as columns of one width. edges: rising [n + 1]; counts: [n]; write: of an edge.

    Where bins are not of one width, those far from any file are left out: such an axis goes on for
    orders of magnitude. Heights are logarithmic where one column would flatten the others.
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
    """Return the bins between two labels: the same number everywhere, where that is possible."""
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
