"""Training history → line charts as plain geometry, which the report's template draws as SVG."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from components.pages.axes import Tick, round_steps

WIDTH, HEIGHT = 520.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 472.0, 26.0, 216.0  # the plot; lines are named to its right
NAME_APART = 15.0  # between two names, so that they stay legible
PHASES = {"head": "head", "finetune": "fine-tune"}


@dataclass(frozen=True)
class Line:
    """One curve; `points` is an SVG points list, x and y its end, its name stands at name_y."""

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
class Chart:
    """A chart of epochs, ready to draw."""

    title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    phases: tuple[Phase, ...]
    lines: tuple[Line, ...]


def history_charts(history: pd.DataFrame) -> tuple[Chart, ...]:
    """Chart loss and accuracy of train and val by epoch; none where no epoch was run.

    history: columns phase, loss, accuracy, val_loss and val_accuracy, one row an epoch.
    """
    if history.empty:
        return ()
    return (
        _chart("Loss", history, {"train": "loss", "val": "val_loss"}),
        _chart("Accuracy", history, {"train": "accuracy", "val": "val_accuracy"}),
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


def _chart(title: str, history: pd.DataFrame, columns: Mapping[str, str]) -> Chart:
    values = history[list(columns.values())].to_numpy(float)
    finite = values[np.isfinite(values)]
    steps = round_steps(finite.min(), finite.max(), 5) if finite.size else [0.0, 1.0]
    axes = _Axes(len(history), steps[0], steps[-1])
    every = max(1, math.ceil(len(history) / 10))
    lines = [_line(name, history[column], axes) for name, column in columns.items()]
    return Chart(
        title,
        x_ticks=tuple(Tick(axes.x(n), str(n)) for n in range(every, axes.epochs + 1, every)),
        y_ticks=tuple(Tick(axes.y(value), f"{value:g}") for value in steps),
        phases=tuple(_phases(list(history["phase"]), axes)),
        lines=_names_apart([line for line in lines if line is not None]),
    )


def _line(name: str, values: Iterable[float], axes: _Axes) -> Line | None:
    """Join the finite values, so that one diverged epoch does not hide the others."""
    known = [(epoch, value) for epoch, value in enumerate(values, 1) if math.isfinite(value)]
    if not known:
        return None
    points = [(axes.x(epoch), axes.y(value)) for epoch, value in known]
    x, y = points[-1]
    return Line(name, " ".join(f"{a},{b}" for a, b in points), x, y, y, known[-1][1])


def _phases(phases: Sequence[str], axes: _Axes) -> Iterator[Phase]:
    done = 0
    for name, rows in itertools.groupby(phases):
        epochs = len(list(rows))
        yield Phase(PHASES.get(name, name), axes.x(done + 0.5), axes.x(done + epochs + 0.5))
        done += epochs


def _names_apart(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Move the name of the lower line down until both can be read."""
    placed: list[Line] = []
    for line in sorted(lines, key=lambda line: line.y):
        above = placed[-1].name_y if placed else -math.inf
        placed.append(replace(line, name_y=max(line.y, above + NAME_APART)))
    return tuple(placed)
