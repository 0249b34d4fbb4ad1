"""Edges and counts of bins → a histogram as plain geometry, which a template draws as SVG."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from components.pages.axes import Tick

WIDTH, HEIGHT = 300.0, 84.0  # of the plot; the labels of the axis stand below it
LOWEST = 2.0  # height of a column of one file, so that it is seen
GAP = 1.5
MOST = 0.5  # of all; a column with more would flatten the others
LABELS = range(3, 7)  # intervals between labels of an axis, so that these stay apart


@dataclass(frozen=True)
class Column:
    """A bin: a rectangle that stands on the axis, and what it says."""

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

    median: where it lies along the axis, None where nothing was counted.
    """

    columns: tuple[Column, ...]
    ticks: tuple[Tick, ...]
    median: float | None
    is_log: bool


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
    if not _even(edges):
        edges, counts = _trimmed(edges, counts)
    most = max(counts)
    is_log = MOST * sum(counts) < most < sum(counts)
    step = WIDTH / len(counts)
    every = _every(len(counts))
    return Histogram(
        columns=tuple(
            _column(number * step, step, count, _height(count, most, is_log), write(low), write(up))
            for number, (count, (low, up)) in enumerate(zip(counts, pairwise(edges), strict=True))
            if count
        ),
        ticks=tuple(
            Tick(round(number * step, 1), write(edges[number]))
            for number in range(0, len(edges), every)
        ),
        median=None if median is None else round(_place(median, edges) * step, 1),
        is_log=is_log,
    )


def _even(edges: Sequence[float]) -> bool:
    widths = [high - low for low, high in pairwise(edges)]
    return max(widths) < 1.01 * min(widths)


def _trimmed(edges: Sequence[float], counts: Sequence[int]) -> tuple[Sequence[float], list[int]]:
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


def _every(bins: int) -> int:
    """Return how many bins lie between two labels: the same everywhere, where that is possible."""
    even = [every for every in range(1, bins + 1) if bins % every == 0 and bins // every in LABELS]
    return even[-1] if even else math.ceil(bins / LABELS[-1])


def _place(value: float, edges: Sequence[float]) -> float:
    """Return where a value lies, counted in bins."""
    number = min(max(bisect_right(edges, value) - 1, 0), len(edges) - 2)
    low, high = edges[number : number + 2]
    return number + min(max((value - low) / (high - low), 0.0), 1.0)
