"""Finished trials → interactive pictures, as plotly's JSON.

Optuna draws the history, the slices and the parallel coordinates, and says which trials are on the
Pareto front. A picture has no colours for its text and its lines: search.js takes them from the
style of the page, which has a light and a dark variant.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.evaluation.interval import Interval
from components.params.search import Choices
from components.search.picture_study import complete_trials, escaped, pareto_front
from components.search.results import (
    Results,
    setting_text,
    value_text,
)
from components.search.trial import Trial

ACCENT, EARLY, PRUNED, CHOSEN = "#3b82c4", "#a9b2bb", "#d97706", "#c13631"

Figure = dict[str, Any]


def history(results: Results) -> Figure:
    """Draw the first objective by trial, with the best value so far, pruned trials and a ring."""
    import optuna
    from plotly.graph_objects import Scatter

    figure = optuna.visualization.plot_optimization_history(
        results.study, target_name=escaped(results.quality)
    )
    values, best, _ = figure.data  # The last one has the trials outside of constraints: none here.
    values.update(name="complete", marker={"color": ACCENT}, **_hover(results, results.complete))
    best.update(name="best so far", line={"color": EARLY, "shape": "hv"}, hoverinfo="skip")
    pruned = [
        trial
        for trial in results.trials
        if trial.state == "pruned" and math.isfinite(trial.values.get(results.quality, math.nan))
    ]
    figure = type(figure)([best, values], figure.layout)
    if pruned:
        figure.add_trace(
            Scatter(
                x=[trial.number for trial in pruned],
                y=[trial.values[results.quality] for trial in pruned],
                name="pruned",
                mode="markers",
                marker={"color": PRUNED, "symbol": "x-thin-open", "size": 8},
                **_hover(results, pruned),
            )
        )
    _add_ring(figure, results, lambda trial: trial.number)
    figure.update_layout(xaxis={"title": "trial"}, showlegend=True)
    return _finished(figure)


def parallel_coordinates(results: Results) -> Figure:
    """Draw a line for each complete trial, through its value and all its hyperparameters."""
    import optuna

    figure = optuna.visualization.plot_parallel_coordinate(
        results.study, target_name=escaped(results.quality)
    )
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    for trial, trace in zip(results.complete, lines, strict=True):
        trace.update(hovertemplate=None, customdata=None, **_hover(results, [trial] * len(trace.x)))
        if trial.number == results.chosen:
            trace.update(line={"color": CHOSEN, "width": 3}, opacity=1)
    # Optuna shortens names at their end, where they differ most.
    names = [escaped(results.quality), *_drawn_names(results)]
    figure.update_xaxes(ticktext=[name.replace(".", ".<br>") for name in names])
    return _finished(figure)


def slices(results: Results) -> dict[str, Figure]:
    """Draw the first objective by each hyperparameter: its name → a picture.

    A picture shows the complete trials that have the hyperparameter. A name without such a trial
    has no picture.
    """
    names = {escaped(name): name for name in results.space}
    return {names[name]: _slice(results, names[name]) for name in _drawn_names(results)}


def _slice(results: Results, name: str) -> Figure:
    import optuna

    figure = optuna.visualization.plot_slice(
        results.study, params=[escaped(name)], target_name=escaped(results.quality)
    )
    (points,) = figure.data
    trials = {trial.number: trial for trial in results.complete}
    shown = [trials[number] for number in points.marker.color]
    marker = {"showscale": False, "size": 8, "colorscale": [[0, EARLY], [1, ACCENT]]}
    points.update(marker=marker, name="", **_hover(results, shown))
    places = {trial.number: place for trial, place in zip(shown, points.x, strict=True)}
    if isinstance(results.space[name], Choices):
        # Optuna writes choices with the quotes of Python.
        labels = results.study.get_trials()[shown[0].number].distributions[escaped(name)].choices
        figure.update_xaxes(tickvals=[repr(label) for label in labels], ticktext=labels)
    if results.chosen in places:
        _add_ring(figure, results, lambda trial: places[trial.number])
    figure.update_layout(showlegend=False, height=260)
    figure.update_xaxes(title_text="", exponentformat="power")
    return _finished(figure)


def pareto(results: Results, cost: str) -> Figure:
    """Draw the first objective by a cost. The line connects the Pareto front of all objectives."""
    from plotly.graph_objects import Figure as Plot
    from plotly.graph_objects import Scatter

    front = pareto_front(results.trials, results.objectives)
    trials = complete_trials(results.trials, results.objectives)
    trials.sort(key=lambda trial: (trial.values[cost], trial.values[results.quality]))
    best = [trial for trial in trials if trial.number in front]
    others = [trial for trial in trials if trial.number not in front]
    # With three objectives, the front is no line in the plane of two.
    mode = "lines+markers" if len(results.objectives) == 2 else "markers"
    figure = Plot()
    for name, group, colour in (("dominated", others, EARLY), ("Pareto front", best, ACCENT)):
        figure.add_trace(
            Scatter(
                x=[trial.values[cost] for trial in group],
                y=[trial.values[results.quality] for trial in group],
                name=name,
                mode=mode if group is best else "markers",
                marker={"color": colour, "size": 8},
                line={"color": colour, "width": 1},
                **_hover(results, group),
            )
        )
    if any(trial.number == results.chosen for trial in trials):
        _add_ring(figure, results, lambda trial: trial.values[cost])
    figure.update_layout(xaxis={"title": escaped(cost)}, yaxis={"title": escaped(results.quality)})
    return _finished(figure)


def confirmed(results: Results, means: Mapping[int, Interval]) -> Figure:
    """Draw the values of the trainings that confirm trials, their mean and its interval.

    means: number of a confirmed trial → the mean of its values, with its interval.
    """
    from plotly.graph_objects import Figure as Plot
    from plotly.graph_objects import Scatter

    trials = [trial for trial in results.trials if trial.confirmed]
    folds = [
        (f"trial {trial.number}", value)
        for trial in trials
        for value in trial.confirmed
        if math.isfinite(value)
    ]
    shown = [(f"trial {t.number}", means[t.number]) for t in trials if t.number in means]
    figure = Plot(
        [
            Scatter(
                x=[value for _, value in folds],
                y=[row for row, _ in folds],
                name="a fold",
                mode="markers",
                marker={"color": EARLY, "symbol": "line-ns-open", "size": 10},
            ),
            Scatter(
                x=[interval.value for _, interval in shown],
                y=[row for row, _ in shown],
                name="mean and its interval",
                mode="markers",
                marker={"color": ACCENT, "size": 10},
                error_x={
                    "type": "data",
                    "array": [_distance(interval, interval.high) for _, interval in shown],
                    "arrayminus": [_distance(interval, interval.low) for _, interval in shown],
                    "color": ACCENT,
                },
            ),
        ]
    )
    rows = [f"trial {trial.number}" for trial in trials]
    order = {"categoryorder": "array", "categoryarray": rows, "autorange": "reversed"}
    figure.update_yaxes(type="category", **order)
    figure.update_xaxes(title=escaped(results.quality))
    figure.update_layout(height=140 + 34 * len(trials))
    return _finished(figure)


def _distance(interval: Interval, end: float | None) -> float | None:
    return None if end is None or interval.value is None else abs(end - interval.value)


def _drawn_names(results: Results) -> list[str]:
    """Return the escaped names that a complete trial has, in the order of Optuna's pictures."""
    return sorted({name for trial in results.study.get_trials() for name in trial.params})


def _hover(results: Results, trials: Sequence[Trial]) -> Figure:
    return {"hoverinfo": "text", "hovertext": [_facts(results, trial) for trial in trials]}


def _facts(results: Results, trial: Trial) -> str:
    values = {name: value_text(name, value) for name, value in trial.values.items()}
    chosen = {name: setting_text(value) for name, value in trial.overrides.items()}
    mark = ", chosen" if trial.number == results.chosen else ""
    lines = [f"<b>trial {trial.number}</b>, {trial.state}{mark}"]
    lines += [f"{escaped(name)}: {escaped(text)}" for name, text in (values | chosen).items()]
    return "<br>".join(lines)


def _add_ring(figure: Any, results: Results, place: Callable[[Trial], Any]) -> None:
    """Mark the chosen trial. place: returns its x position."""
    from plotly.graph_objects import Scatter

    for trial in results.complete:
        if trial.number == results.chosen:
            ring = {"color": CHOSEN, "symbol": "circle-open", "size": 16, "line": {"width": 2}}
            figure.add_trace(
                Scatter(
                    x=[place(trial)],
                    y=[trial.values[results.quality]],
                    name="chosen",
                    mode="markers",
                    marker=ring,
                    hoverinfo="skip",
                )
            )


def _finished(figure: Any) -> Figure:
    figure.update_layout(
        template="none",
        title=None,
        height=figure.layout.height or 340,
        margin={"l": 56, "r": 16, "t": 28, "b": 16},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"align": "left"},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    )
    figure.update_xaxes(automargin=True, exponentformat=figure.layout.xaxis.exponentformat or "SI")
    figure.update_yaxes(automargin=True)
    return dict(json.loads(figure.to_json()))
