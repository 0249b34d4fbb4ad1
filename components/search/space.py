"""A search space and an Optuna trial → overrides, a dict from dotted names to chosen values.

Example of overrides: {"model.dropout": 0.3, "train.weight_decay": 0.001}.
"""

from collections.abc import Mapping
from typing import Any

from components.params.hyperparameters import Hyperparameters
from components.params.search import Choices, SpaceValues

Overrides = dict[str, Any]


def suggest(trial: Any, space: Mapping[str, SpaceValues], written: Hyperparameters) -> Overrides:
    """Let Optuna choose a value for every name of the search space.

    trial: an optuna.Trial. space: the search space, a dict from dotted names to the values to try.
    written: the hyperparameters in params.yaml.

    A range gives integers if the value in params.yaml is an integer, and floats if that value is a
    float. For example, the value of model.dropout is a float, so `{low: 0, high: 1, log: false}`
    can give 0.3.
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
    """Return the values that params.yaml has for the names of the search space.

    Returns None if any of these values is not in the search space: it is outside its range, or it
    is not in the list of choices.
    space: the search space. written: the hyperparameters in params.yaml.
    """
    point = {name: written.value(name) for name in space}
    return point if all(_is_inside(point[name], values) for name, values in space.items()) else None


def _is_inside(value: Any, values: SpaceValues) -> bool:
    if isinstance(values, Choices):
        return value in values.choices
    return bool(values.low <= value <= values.high)
