"""A search space and an Optuna trial → overrides, a dict from dotted names to values."""

from collections.abc import Mapping
from typing import Any

from components.params.hyperparameters import Hyperparameters
from components.params.search import Choices, SpaceValues

Overrides = dict[str, Any]


def suggest(trial: Any, space: Mapping[str, SpaceValues], written: Hyperparameters) -> Overrides:
    """Let an optuna.Trial choose a value for every name of the space.

    written: the values in params.yaml. If the written value is a float, a range gives floats, even
    if both ends of the range are integers. For example, `{low: 0, high: 1}` for model.dropout can
    give 0.3.
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
    """Return the value in params.yaml of every name of the space.

    Returns None if a value is outside of its range or is not one of its choices.
    """
    point = {name: written.value(name) for name in space}
    return point if all(_is_inside(point[name], values) for name, values in space.items()) else None


def _is_inside(value: Any, values: SpaceValues) -> bool:
    if isinstance(values, Choices):
        return value in values.choices
    return bool(values.low <= value <= values.high)
