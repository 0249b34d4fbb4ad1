"""A search space and an Optuna trial → overrides, the hyperparameters that the trial uses.

The search space is the section `search.space` of params.yaml. It has the names of some
hyperparameters, such as `model.dropout`, and the values to try for each of them. The overrides of a
trial are the values that Optuna has chosen. The trial uses them instead of the values in the other
sections of params.yaml.

Example of overrides: {"model.dropout": 0.3, "train.weight_decay": 0.001}.
"""

from collections.abc import Mapping
from typing import Any

from components.params.hyperparameters import Hyperparameters
from components.params.search import Choices, SpaceValues

Overrides = dict[str, Any]


def suggest(trial: Any, space: Mapping[str, SpaceValues], written: Hyperparameters) -> Overrides:
    """Let Optuna choose a value for every name of the search space.

    trial: an optuna.Trial. space: the search space, a dict from the name of a hyperparameter to the
    values to try: either a list of choices, or a range. written: the hyperparameters in
    params.yaml.

    If the values to try are a range, Optuna chooses a float if the hyperparameter is a float in
    params.yaml. Otherwise Optuna chooses an integer. For example, model.dropout is a float, so
    `{low: 0, high: 1, log: false}` can give 0.3.
    """
    overrides: Overrides = {}
    for name, values in space.items():
        if isinstance(values, Choices):
            overrides[name] = trial.suggest_categorical(name, values.choices)
        elif isinstance(written.value(name), float):
            overrides[name] = trial.suggest_float(name, values.low, values.high, log=values.log)
        else:
            low, high = int(values.low), int(values.high)
            overrides[name] = trial.suggest_int(name, low, high, log=values.log)
    return overrides


def values_as_written(
    space: Mapping[str, SpaceValues], written: Hyperparameters
) -> Overrides | None:
    """Return the values in params.yaml of all hyperparameters in the search space.

    Returns None if at least one of these values is outside of its range or is not in its list of
    choices.

    space: the search space. written: the hyperparameters in params.yaml.
    """
    point = {name: written.value(name) for name in space}
    return point if all(_is_inside(point[name], values) for name, values in space.items()) else None


def _is_inside(value: Any, values: SpaceValues) -> bool:
    if isinstance(values, Choices):
        return value in values.choices
    return bool(values.low <= value <= values.high)
