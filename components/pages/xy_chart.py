"""Points → the positions of a chart with two axes of numbers, such as a ROC curve.

`xy_chart.html.jinja` draws it as SVG. All positions are in units of the SVG image. A larger y is
lower on the page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.pages.charts import Tick, round_steps

Point = tuple[float, float]


@dataclass(frozen=True)
class Plot:
    """The size of a chart: the edges of the plot. The marks of the axes are outside of it."""

    left: float = 40.0
    right: float = 320.0
    top: float = 26.0
    bottom: float = 286.0


SQUARE = Plot()
SMALL = Plot(right=240.0, bottom=126.0)


@dataclass(frozen=True)
class Scale:
    """An axis. label: what it shows. low, high: its ends. ticks: value → the text of its mark."""

    label: str
    low: float
    high: float
    ticks: Mapping[float, str]


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    name: what it shows. style: its class in the style sheet, such as `c1`. points: (x, y), from
    left to right. ends: for each point the lower and the upper end of the interval of y; empty for
    no interval. titles: the text of each point, which then has a disc; empty for no discs.
    """

    name: str
    style: str
    points: Sequence[Point]
    ends: Sequence[tuple[float, float]] = ()
    titles: Sequence[str] = ()


@dataclass(frozen=True)
class Disc:
    """A point of a line. x, y: its position. title: its text."""

    x: float
    y: float
    title: str


@dataclass(frozen=True)
class Drawn:
    """A line. points: of an SVG polyline. band: of the polygon of its intervals, or empty."""

    name: str
    style: str
    points: str
    band: str
    discs: tuple[Disc, ...]


@dataclass(frozen=True)
class XYChart:
    """The parts of a chart. guide: the points of a dashed line to compare with, or empty."""

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    guide: str
    lines: tuple[Drawn, ...]
    plot: Plot


def share_scale(label: str, low: float = 0.0) -> Scale:
    """Return an axis from a share to 1, with 3 to 6 marks.

    >>> share_scale("accuracy", 0.8).ticks
    {0.8: '0.8', 0.85: '0.85', 0.9: '0.9', 0.95: '0.95', 1.0: '1'}
    """
    steps = round_steps(low, 1.0, 4)
    return Scale(label, steps[0], steps[-1], {value: f"{value:g}" for value in steps})


def xy_chart(
    title: str,
    x: Scale,
    y: Scale,
    lines: Sequence[Series],
    guide: Sequence[Point] = (),
    plot: Plot = SQUARE,
) -> XYChart:
    """Compute a chart.

    >>> chart = xy_chart("a", share_scale("x"), share_scale("y"), [Series("b", "c1", [(0, 0.5)])])
    >>> chart.lines[0].points
    '40.0,156.0'
    """

    def at(point: Point) -> tuple[float, float]:
        across = (point[0] - x.low) / (x.high - x.low)
        up = (point[1] - y.low) / (y.high - y.low)
        return (
            round(plot.left + (plot.right - plot.left) * across, 1),
            round(plot.bottom - (plot.bottom - plot.top) * up, 1),
        )

    def joined(points: Sequence[Point]) -> str:
        return " ".join(f"{across},{down}" for across, down in map(at, points))

    def drawn(line: Series) -> Drawn:
        upper = [(point[0], end[1]) for point, end in zip(line.points, line.ends, strict=False)]
        lower = [(point[0], end[0]) for point, end in zip(line.points, line.ends, strict=False)]
        discs = [
            Disc(*at(point), text) for point, text in zip(line.points, line.titles, strict=False)
        ]
        band = joined([*upper, *reversed(lower)])
        return Drawn(line.name, line.style, joined(line.points), band, tuple(discs))

    return XYChart(
        title,
        x.label,
        y.label,
        tuple(Tick(at((value, y.low))[0], text) for value, text in x.ticks.items()),
        tuple(Tick(at((x.low, value))[1], text) for value, text in y.ticks.items()),
        joined(guide),
        tuple(map(drawn, lines)),
        plot,
    )
