"""The text of params.yaml and a new value → the text with this value, and with all comments."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from components.errors import UserError

PARAMS = Path("params.yaml")


def with_value(text: str, keys: Sequence[str], value: str) -> str:
    """Return the text of a YAML file with another value at `keys`. Nothing else is changed.

    text: the text of the file. keys: the keys from the top of the file down to the value.
    value: the new value in YAML. For example, `0.5` is a number, and `"2026"` with quotes is a
    string.
    Raises UserError if the text is not valid YAML, if there is no value at `keys`, if this value is
    a list or a mapping, or if it cannot be replaced without changing other values.

    >>> with_value("model: { weights: none } # a start", ("model", "weights"), "imagenet")
    'model: { weights: imagenet } # a start'
    """
    expected = copy.deepcopy(read_tree(text))
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    below: Any = expected
    for key in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((inner for name, inner in pairs if name.value == key), None)
    if isinstance(node, yaml.ScalarNode):
        for key in keys[:-1]:
            below = below[key]
        below[keys[-1]] = yaml.safe_load(value)
        changed = text[: node.start_mark.index] + value + text[node.end_mark.index :]
        # Example: other values are YAML aliases of the old value. Then they would change too, and
        # `_holds` returns False.
        if _holds(changed, expected):
            return changed
    raise UserError(
        f"{PARAMS} must have a plain value, that is, no list, mapping or YAML alias, at "
        f"{'.'.join(keys)}; write {value} there"
    )


def read_tree(text: str) -> Any:
    """Read a YAML text. Raises UserError if the text is not valid YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{PARAMS} is not valid YAML; correct it. Received: {problem}") from None


def _holds(text: str, tree: Any) -> bool:
    try:
        return bool(yaml.safe_load(text) == tree)
    except yaml.YAMLError:
        return False
