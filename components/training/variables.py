"""Keras variables ⇄ NumPy arrays with their values."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_values(variables: Iterable[Any]) -> list[NDArray[Any]]:
    """Return copies of the values. Without a copy, the next step of training may overwrite them."""
    import keras

    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign(variables: Iterable[Any], values: Iterable[NDArray[Any]]) -> None:
    """Set each variable to its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
