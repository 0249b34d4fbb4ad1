"""Finished trials → an Optuna study in memory, from which Optuna draws pictures.

Plotly reads names and choices as HTML, so they are escaped here, and Optuna's pictures show them as
they are written in params.yaml.
"""

import html
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from components.params.search import Choices, Space, SpaceValues, is_one_of
from components.search.memory_study import memory_study
from components.search.trial import Trial
from components.words import printable

LONGEST_LABEL = 24  # characters; the middle of a longer choice, such as a path, is left out


def escaped(text: str) -> str:
    r"""Write a text on one line for plotly.

    >>> escaped("<b>a & b</b>")
    '&lt;b&gt;a &amp; b&lt;/b&gt;'
    """
    return html.escape(printable(text), quote=False)


def choice_text(choice: object) -> str:
    """Write a choice as in params.yaml.

    >>> choice_text("gem"), choice_text(True), choice_text(0.1)
    ('gem', 'true', '0.1')
    """
    return choice if isinstance(choice, str) else json.dumps(choice)


def picture_study(trials: Sequence[Trial], objectives: Mapping[str, str], space: Space) -> Any:
    """Return an optuna.Study with the complete trials that have a finite value of all objectives.

    The numbers of the trials are those of Fovea, so each other number is a failed trial without
    hyperparameters. A trial outside of the search space (the values in params.yaml can be) is drawn
    like all others.

    objectives: name → `maximize` or `minimize`, in the order of the study's directions.
    """
    import optuna

    directions: list[Any] = list(objectives.values())
    study = memory_study(directions=directions)
    complete = {trial.number: trial for trial in complete_trials(trials, objectives)}
    axes = {name: Axis(name, values, trials) for name, values in space.items()}
    distributions = {name: _distribution(axis) for name, axis in axes.items()}
    for number in range(max(complete, default=-1) + 1):
        if trial := complete.get(number):
            shown = {
                name: value
                for name, value in trial.overrides.items()
                if name in axes and axes[name].shows(value)
            }
            template = optuna.trial.create_trial(
                values=[trial.values[objective] for objective in objectives],
                params={escaped(n): _drawn_value(axes[n], value) for n, value in shown.items()},
                distributions={escaped(name): distributions[name] for name in shown},
            )
        else:
            template = optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL)
        study.add_trial(template)
    return study


def complete_trials(trials: Sequence[Trial], objectives: Mapping[str, str]) -> list[Trial]:
    """Return the complete trials that have a finite value of all objectives, by number."""
    return sorted(
        (
            trial
            for trial in trials
            if trial.state == "complete"
            and all(math.isfinite(trial.values.get(name, math.nan)) for name in objectives)
        ),
        key=lambda trial: trial.number,
    )


def pareto_front(trials: Sequence[Trial], objectives: Mapping[str, str]) -> list[int]:
    """Return the numbers of the trials of the Pareto front, in ascending order.

    No other complete trial is at least as good in all objectives and better in one of them.
    objectives: at least two, name → `maximize` or `minimize`.

    >>> found = [Trial(n, "complete", {}, {"f1": f1, "bytes": size})
    ...          for n, (f1, size) in enumerate([(0.9, 40), (0.8, 20), (0.8, 30)])]
    >>> pareto_front(found, {"f1": "maximize", "bytes": "minimize"})
    [0, 1]
    """
    return sorted(trial.number for trial in picture_study(trials, objectives, {}).best_trials)


class Axis:
    """The values of a hyperparameter as pictures show them.

    values: the values of the search space. labels: for a list of choices, a text or a number for
    each choice, and for each value outside of the search space that a trial has; otherwise empty.
    low, high: the ends of a range, far enough apart for all values that trials have.
    """

    def __init__(self, name: str, values: SpaceValues, trials: Sequence[Trial]) -> None:
        self.values = values
        self.labels: list[Any] = []
        tried = [trial.overrides[name] for trial in trials if name in trial.overrides]
        if isinstance(values, Choices):
            self._choices: list[Any] = []
            for value in [*values.choices, *tried]:
                if not is_one_of(value, self._choices):
                    self._choices.append(value)
            self.labels = _labels(self._choices)
        else:
            numbers = [value for value in tried if self.shows(value)]
            self.low = min([values.low, *numbers])
            self.high = max([values.high, *numbers])

    def shows(self, value: Any) -> bool:
        """Return whether the axis has a place for the value; 0 has none on a logarithmic axis."""
        if isinstance(self.values, Choices):
            return True
        return _is_number(value) and (value > 0 or not self.values.log)

    def place(self, value: Any) -> Any:
        """Return the position of a choice in `labels`, and a number of a range as it is."""
        if not isinstance(self.values, Choices):
            return value
        return next(n for n, choice in enumerate(self._choices) if is_one_of(value, [choice]))


def _drawn_value(axis: Axis, value: Any) -> Any:
    return _drawn_labels(axis)[axis.place(value)] if axis.labels else value


def _drawn_labels(axis: Axis) -> list[Any]:
    return [escaped(label) if isinstance(label, str) else label for label in axis.labels]


def _distribution(axis: Axis) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(axis.values, Choices):
        return CategoricalDistribution(_drawn_labels(axis))
    return FloatDistribution(axis.low, axis.high, log=axis.values.log)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _labels(choices: Sequence[Any]) -> list[Any]:
    """Return a label for each choice. Numbers stay numbers, which Optuna puts into order."""
    if all(map(_is_number, choices)):
        return list(choices)
    labels: list[str] = []
    for choice in choices:
        text, half = choice_text(choice), LONGEST_LABEL // 2
        text = text if len(text) <= LONGEST_LABEL else f"{text[:half]}…{text[-half:]}"
        label, times = text, 1
        while label in labels:  # The text "true" and the value true look the same.
            times += 1
            label = f"{text} ({times})"
        labels.append(label)
    return labels
