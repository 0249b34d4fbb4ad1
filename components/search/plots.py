"""Finished trials → one picture: the value by trial, and by each hyperparameter."""

import io
from collections.abc import Sequence
from typing import Any

from components.search.study import Trial

COLOURS = {"complete": "#2563eb", "pruned": "#d97706"}


def draw_trials(trials: Sequence[Trial], maximize: str) -> str:
    """Return an SVG text; equal trials give equal text."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names = list(trials[0].overrides) if trials else []
    with mpl.rc_context({"svg.hashsalt": "fovea", "font.size": 9}):
        figure = Figure(figsize=(4 * (1 + len(names)), 3.2), layout="constrained")
        panels = figure.subplots(1, 1 + len(names), squeeze=False, sharey=True)[0]
        _draw_history(panels[0], trials, maximize)
        for panel, name in zip(panels[1:], names, strict=True):
            _draw_values(panel, trials, name)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _draw_history(panel: Any, trials: Sequence[Trial], maximize: str) -> None:
    panel.set(title="trials", xlabel="trial", ylabel=maximize)
    if not trials:
        panel.text(0.5, 0.5, "search.trials: 0", ha="center", transform=panel.transAxes)
        return
    _scatter(panel, trials, [trial.number for trial in trials])
    best: list[tuple[int, float]] = []
    for trial in trials:
        if trial.state == "complete" and trial.value is not None:
            best.append((trial.number, max([trial.value, *(value for _, value in best[-1:])])))
    if best:
        panel.step(*zip(*best, strict=True), where="post", color="#9ca3af", label="best so far")
    panel.legend(fontsize=7)


def _draw_values(panel: Any, trials: Sequence[Trial], name: str) -> None:
    values = [trial.overrides.get(name) for trial in trials]
    numbers = [value for value in values if isinstance(value, int | float)]
    panel.set(title=name)
    if len(numbers) == len(values) and min(numbers) > 0 and max(numbers) > 20 * min(numbers):
        panel.set_xscale("log")
    elif len(numbers) < len(values):
        values = [str(value) for value in values]
    _scatter(panel, trials, values)


def _scatter(panel: Any, trials: Sequence[Trial], places: Sequence[Any]) -> None:
    for state, colour in COLOURS.items():
        shown = [
            (place, trial.value)
            for place, trial in zip(places, trials, strict=True)
            if trial.state == state and trial.value is not None
        ]
        if shown:
            panel.scatter(*zip(*shown, strict=True), s=22, color=colour, label=state)
