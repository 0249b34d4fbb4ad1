"""Numbers → the positions and sizes of the parts of charts. `charts.html.jinja` draws them as SVG.

The report on the images has histograms of facts, which are numbers about how an image looks. The
report on the model has line charts of the training. All positions and sizes are in units of the SVG
image. A larger y is lower on the page.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

# The edges of the plot of a line chart. The names of the lines are to the right of the plot.
LEFT, RIGHT, TOP, BOTTOM = 44.0, 472.0, 26.0, 216.0
NAME_DISTANCE = 15.0  # minimum vertical distance of two names, so that they do not overlap

# The size of the plot of a histogram. The labels of its axis are below the plot.
WIDTH, HEIGHT = 300.0, 84.0
LOWEST = 2.0  # minimum height of a column, so that a column with a count of 1 is visible
GAP = 1.5  # maximum width of the gap between two columns
# If one column has more than this share of all values, the heights of all columns are logarithmic.
MOST = 0.5
# The preferred numbers of intervals into which the labels divide the axis of a histogram. With more
# intervals, the labels could overlap.
LABEL_INTERVALS = range(3, 7)


@dataclass(frozen=True)
class Tick:
    """A mark on an axis. at: its x position or its y position. text: its label."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """A curve of a line chart.

    name: the name of the curve. points: the value of the attribute `points` of an SVG polyline.
    x, y: the position of the last point. name_y: the y position of the name. last: the value at the
    last point.
    """

    name: str
    points: str
    x: float
    y: float
    name_y: float
    last: float


@dataclass(frozen=True)
class Phase:
    """A phase of the training, whose epochs are between the x positions `start` and `end`."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class LineChart:
    """A line chart with several curves, such as train and val. The x axis shows the epochs.

    kept: the x position of the epoch that was kept; None if it is not known.
    """

    title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    phases: tuple[Phase, ...]
    lines: tuple[Line, ...]
    kept: float | None


@dataclass(frozen=True)
class Column:
    """A column of a histogram.

    x, y: the position of the upper left corner. width, height: the size of the column. low, high:
    the edges of the bin as text. count: the number of values in the bin.
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
    """The parts of a histogram and their positions.

    columns: the columns of the bins that are not empty. ticks: the marks on the x axis. median: the
    x position of the median, None if there is no value. is_log: True if the heights of the columns
    are logarithmic, False if they are proportional to the counts.
    """

    columns: tuple[Column, ...]
    ticks: tuple[Tick, ...]
    median: float | None
    is_log: bool


def round_steps(low: float, high: float, steps: int) -> list[float]:
    """Return round numbers for the labels of an axis that shows `low` to `high`.

    The distance from one number to the next is always the same. The result has about `steps`
    distances. The first number is at most `low`, and the last number is at least `high`.

    >>> round_steps(12, 3100, 5)
    [0.0, 1000.0, 2000.0, 3000.0, 4000.0]
    """
    rough = max(high - low, 1e-9) / steps
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * index, 10) for index in range(first, max(last, first + 1) + 1)]


def line_chart(
    title: str,
    curves: Mapping[str, Sequence[float]],
    phases: Sequence[str],
    kept: int | None = None,
) -> LineChart:
    """Compute a line chart of values by epoch.

    title: the title of the chart. curves: name of a curve → one value for each epoch. phases: for
    each epoch, the name of its training phase. kept: the number of the epoch that was kept, counted
    from 1 through all phases; None if it is not known. Values that are NaN or infinite are left
    out, so that all other values of the curve can be drawn.
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
        kept=None if kept is None else axes.x(kept),
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
    """Move the names of lines down, so that the names do not overlap.

    The lines are processed and returned in the order of their last points, from top to bottom.
    """
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
    """Compute a histogram. All its columns have the same width.

    edges: float [n + 1], the edges of the bins in ascending order. counts: int [n], the number of
    values in each bin. median: the median of the values, None if there is no value. write: a
    function that returns an edge as text.

    If the bins differ in width, empty bins at the start and at the end of the axis are left out,
    except one bin at each end. The reason is that such bins may cover several orders of magnitude,
    so many of them may be empty.

    If one bin has more than the share MOST of all values, all other columns could be too low to
    see. In this case the heights are logarithmic, unless all other bins are empty.
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
    # If all bins are empty, all bins are returned.
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
    """Return the number of bins from one label of the axis to the next label.

    If possible, the labels divide the axis into 3 to 6 equal intervals. Then the last edge also has
    a label. Otherwise the labels divide the axis into at most 6 intervals, and the last edge may
    have no label.
    """
    fitting = [
        number
        for number in range(1, bins + 1)
        if bins % number == 0 and bins // number in LABEL_INTERVALS
    ]
    return fitting[-1] if fitting else math.ceil(bins / LABEL_INTERVALS[-1])


def _position(value: float, edges: Sequence[float]) -> float:
    """Return the position of a value on the axis, in bins from the start of the axis.

    A value outside of the edges has the position of the nearest edge.
    """
    number = min(max(bisect_right(edges, value) - 1, 0), len(edges) - 2)
    low, high = edges[number : number + 2]
    return number + min(max((value - low) / (high - low), 0.0), 1.0)
