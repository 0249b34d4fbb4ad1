"""Finished trials → an SVG picture with the values of the trials.

The value of a trial is the value of the metric that the search maximizes. The picture has several
panels. The y axis of all panels is the value of a trial. The x axis of the first panel is the
number of the trial. Each of the other panels belongs to one hyperparameter of the search space, and
its x axis is the value of this hyperparameter. It shows the trials that chose such a value.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from components.params.search import Range, SpaceValues
from components.search.study import Trial, best_trial

COLOURS = {"complete": "#2563eb", "pruned": "#d97706"}


def draw_trials(trials: Sequence[Trial], maximize: str, space: Mapping[str, SpaceValues]) -> str:
    """Draw the trials and return the text of the SVG picture. Equal arguments give equal text.

    A ring marks the best trial. Failed trials have no value, so they are not drawn.

    trials: the finished trials, from `run_study`. The list may be empty; otherwise at least one
    trial must be complete. maximize: the name of the metric that the search maximizes. space: the
    search space, a dict from the name of a hyperparameter (such as `model.dropout`) to the values
    to try.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names = list(space) if trials else []
    with mpl.rc_context({"svg.hashsalt": "fovea", "font.size": 9}):
        figure = Figure(figsize=(3.6 * (1 + len(names)), 3.2), layout="constrained")
        panels = figure.subplots(1, 1 + len(names), squeeze=False, sharey=True)[0]
        _draw_history(panels[0], trials, maximize)
        for panel, name in zip(panels[1:], names, strict=True):
            _draw_values(panel, trials, name, space[name])
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _draw_history(panel: Any, trials: Sequence[Trial], maximize: str) -> None:
    from matplotlib.ticker import MaxNLocator

    panel.set(title="trials", xlabel="trial", ylabel=maximize)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not trials:
        panel.text(0.5, 0.5, "search.trials: 0", ha="center", transform=panel.transAxes)
        return
    best: list[tuple[int, float]] = []
    for trial in trials:
        if trial.state == "complete" and trial.value is not None:
            best.append((trial.number, max([trial.value, *(value for _, value in best[-1:])])))
    panel.step(*zip(*best, strict=True), where="post", color="#9ca3af", label="best so far")
    _scatter(panel, trials, [trial.number for trial in trials], best_trial(list(trials)))
    panel.legend(fontsize=7)


def _draw_values(panel: Any, trials: Sequence[Trial], name: str, values: SpaceValues) -> None:
    chosen = best_trial(list(trials))
    trials = [trial for trial in trials if name in trial.overrides]
    positions = [trial.overrides[name] for trial in trials]
    panel.set(title=name)
    if not isinstance(values, Range):
        positions = [str(position) for position in positions]
    elif values.log:
        panel.set_xscale("log")
    panel.tick_params(axis="x", which="both", labelrotation=30)
    _scatter(panel, trials, positions, chosen)


def _scatter(panel: Any, trials: Sequence[Trial], positions: Sequence[Any], chosen: Trial) -> None:
    for state, colour in COLOURS.items():
        shown = [
            (position, trial.value)
            for position, trial in zip(positions, trials, strict=True)
            if trial.state == state and trial.value is not None
        ]
        if shown:
            panel.scatter(*zip(*shown, strict=True), s=22, color=colour, label=state)
    ring = {"s": 90, "facecolors": "none", "edgecolors": "#111827", "label": "chosen"}
    for position, trial in zip(positions, trials, strict=True):
        if trial == chosen:
            panel.scatter([position], [chosen.value], **ring)
