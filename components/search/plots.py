"""Finished trials → an SVG picture, for `dvc plots`.

The picture has several panels. The y axis of all panels is the first objective, the quality. The x
axis of the first panel is the number of the trial. Then comes a panel for each further objective, a
cost, with the Pareto front. Each of the other panels belongs to one hyperparameter of the search
space, and its x axis is the value of this hyperparameter. It shows the trials that chose such a
value.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from components.params.search import Choices, Space, SpaceValues
from components.search.picture_study import Axis, complete_trials, pareto_front
from components.search.trial import Trial

MOST_COLUMNS = 4
COLOURS = {"complete": "#2563eb", "pruned": "#d97706"}
NO_SEARCH = (
    "There was no search, because search.trials in params.yaml is 0; "
    "a number above 0, such as 20, starts one."
)


def draw_trials(
    trials: Sequence[Trial], objectives: Mapping[str, str], space: Space, chosen: int | None
) -> str:
    """Draw the trials and return the text of the SVG picture. Equal arguments give equal text.

    A ring marks the chosen trial. Failed trials have no value, so they are not drawn. Without a
    trial that has a value, the picture is a sentence.

    trials: the finished trials. objectives: name → `maximize` or `minimize`; the first one is the
    quality. space: the search space. chosen: the number of the chosen trial, None if there is none.
    """
    import matplotlib as mpl

    quality, *costs = objectives
    shown = [t for t in trials if math.isfinite(t.values.get(quality, math.nan))]
    with mpl.rc_context({"svg.hashsalt": "fovea", "font.size": 9}):
        if not trials:
            return _svg(_sentence(NO_SEARCH))
        if not shown:
            return _svg(_sentence("No trial of the search has a value; all of them failed."))
        panels = _Panels(shown, objectives, chosen, 1 + len(costs) + len(space))
        panels.draw_history()
        for cost in costs:
            panels.draw_cost(cost)
        for name, values in space.items():
            panels.draw_values(name, values)
        return _svg(panels.figure)


class _Panels:
    """The panels of the picture, from left to right. trials: those with a value."""

    def __init__(
        self,
        trials: Sequence[Trial],
        objectives: Mapping[str, str],
        chosen: int | None,
        count: int,
    ) -> None:
        from matplotlib.figure import Figure

        columns = min(count, MOST_COLUMNS)
        rows = -(-count // columns)
        self.figure = Figure(figsize=(3.6 * columns, 3.2 * rows), layout="constrained")
        axes = self.figure.subplots(rows, columns, squeeze=False, sharey=True)
        self._axes = iter(axes.flat)
        for panel in axes.flat[count:]:
            panel.remove()
        self._trials = sorted(trials, key=lambda trial: trial.number)
        self._objectives = objectives
        self._quality = next(iter(objectives))
        self._chosen = chosen
        for panel in axes[:, 0]:
            panel.set_ylabel(_plain(self._quality))

    def draw_history(self) -> None:
        from matplotlib.ticker import MaxNLocator

        panel = next(self._axes)
        panel.set(title="trials", xlabel="trial")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        better = max if self._objectives[self._quality] == "maximize" else min
        best: list[tuple[int, float]] = []
        for trial in self._trials:
            if trial.state == "complete":
                value = trial.values[self._quality]
                best.append((trial.number, better([value, *(old for _, old in best[-1:])])))
        if best:
            style = {"where": "post", "color": "#9ca3af", "label": "best so far"}
            panel.step(*zip(*best, strict=True), **style)
        self._scatter(panel, {trial.number: trial.number for trial in self._trials})
        panel.legend(fontsize=7)

    def draw_cost(self, cost: str) -> None:
        panel = next(self._axes)
        panel.set(title=_plain(cost))
        measured = complete_trials(self._trials, self._objectives)
        self._scatter(panel, {trial.number: trial.values[cost] for trial in measured})
        front = pareto_front(measured, self._objectives)
        best = [trial for trial in measured if trial.number in front]
        points = sorted((trial.values[cost], trial.values[self._quality]) for trial in best)
        if points:
            # With three objectives, the front is no line in the plane of two.
            line = "-" if len(self._objectives) == 2 else ""
            style = {"color": "#059669", "marker": "s", "markersize": 7, "fillstyle": "none"}
            panel.plot(*zip(*points, strict=True), linestyle=line, label="Pareto front", **style)
            panel.legend(fontsize=7)

    def draw_values(self, name: str, values: SpaceValues) -> None:
        panel = next(self._axes)
        panel.set(title=_plain(name))
        axis = Axis(name, values, self._trials)
        places = {
            trial.number: axis.place(trial.overrides[name])
            for trial in self._trials
            if name in trial.overrides and axis.shows(trial.overrides[name])
        }
        if isinstance(values, Choices):
            panel.set_xticks(range(len(axis.labels)), [_plain(str(text)) for text in axis.labels])
            panel.set_xlim(-0.5, len(axis.labels) - 0.5)
        elif values.log:
            panel.set_xscale("log")
        panel.tick_params(axis="x", which="both", labelrotation=30)
        self._scatter(panel, places)

    def _scatter(self, panel: Any, places: Mapping[int, Any]) -> None:
        """Draw the trials that have a place on the x axis. places: number of a trial → its x."""
        trials = [trial for trial in self._trials if trial.number in places]
        for state, colour in COLOURS.items():
            points = [
                (places[trial.number], trial.values[self._quality])
                for trial in trials
                if trial.state == state
            ]
            if points:
                panel.scatter(*zip(*points, strict=True), s=22, color=colour, label=state)
        ring = {"s": 90, "facecolors": "none", "edgecolors": "#111827", "label": "chosen"}
        for trial in trials:
            if trial.number == self._chosen:
                panel.scatter([places[trial.number]], [trial.values[self._quality]], **ring)


def _plain(text: str) -> str:
    """Write a name so that matplotlib does not read a formula between two dollars."""
    return text.replace("$", r"\$")


def _sentence(text: str) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 0.6))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
