"""A search space and an Optuna trial → overrides, the hyperparameters that the trial uses.

The search space is the section `search.space` of params.yaml. It has the names of some
hyperparameters, such as `model.dropout`, and the values to try for each of them. The overrides of a
trial are the values that Optuna has chosen. The trial uses them instead of the values in the other
sections of params.yaml.

Example of overrides: {"model.dropout": 0.3, "train.weight_decay": 0.001}.
"""

from typing import Any

from components.params.hyperparameters import Hyperparameters
from components.params.search import (
    Choices,
    Search,
    Space,
    SpaceValues,
    finite_values,
    is_chosen,
    is_inside,
    suggestion_order,
)

Overrides = dict[str, Any]


def suggest(trial: Any, space: Space, written: Hyperparameters) -> Overrides:
    """Let Optuna choose a value for every name of the search space whose condition holds.

    trial: an optuna.Trial. space: the search space, a dict from the name of a hyperparameter to the
    values to try: either a list of choices, or a range. written: the hyperparameters in
    params.yaml.

    If the values to try are a range, Optuna chooses a float if the hyperparameter is a float in
    params.yaml. Otherwise Optuna chooses an integer. For example, model.dropout is a float, so
    `{low: 0, high: 1, log: false}` can give 0.3.
    """
    overrides: Overrides = {}
    for name in suggestion_order(space):
        if is_chosen(space[name], overrides):
            overrides[name] = _suggest_value(trial, name, space[name], written.value(name))
    return overrides


def _suggest_value(trial: Any, name: str, values: SpaceValues, written: object) -> Any:
    if isinstance(values, Choices):
        return trial.suggest_categorical(name, values.choices)
    low, high, step = values.low, values.high, values.step or None
    if not isinstance(written, float):
        return trial.suggest_int(name, low, high, step=step or 1, log=values.log)
    value = float(trial.suggest_float(name, low, high, step=step, log=values.log))
    # Optuna adds floats, so 0.1 and two steps of 0.1 are 0.30000000000000004.
    grid = finite_values(values, written)
    return min(grid, key=lambda number: abs(number - value)) if grid else value


def start_points(search: Search, written: Hyperparameters) -> list[Overrides]:
    """Return what the first trials try: the values in params.yaml, then the points of `start`.

    The values in params.yaml are always the first point, also if the search space does not contain
    them; then it has no overrides. A point that is equal to an earlier one is left out.

    search: the section `search` of params.yaml. written: the hyperparameters in params.yaml.
    """
    points = [_values_as_written(search.space, written)]
    return points + [point for point in search.start if point not in points]


def _values_as_written(space: Space, written: Hyperparameters) -> Overrides:
    """Return the values in params.yaml of all hyperparameters whose condition holds with them."""
    point: Overrides = {}
    for name in suggestion_order(space):
        if is_chosen(space[name], point):
            point[name] = written.value(name)
            if not is_inside(point[name], space[name], point[name]):
                return {}
    return point
