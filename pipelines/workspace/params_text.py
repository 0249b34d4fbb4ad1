"""The text of params.yaml and a new value → the text with this value, and with all comments."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.params import yaml_text

PARAMS = Path("params.yaml")


def with_value(text: str, keys: Sequence[str], value: str | float) -> str:
    """Return the text of a YAML file with another value at `keys`. Nothing else is changed.

    The value is written as DVC writes it. So a later `dvc exp run -S` does not change it again.
    text: the text of the file. keys: the keys from the top of the file down to the value.
    Raises UserError if the text is not valid YAML, if there is no value at `keys`, if this value is
    a list or a mapping, or if it cannot be replaced without changing other values.

    >>> with_value("model: {weights: none} # a start", ("model", "weights"), "imagenet")
    'model: {weights: imagenet} # a start'
    """
    expected = copy.deepcopy(yaml_text.parse(text, PARAMS))
    node, below = yaml_text.compose(text), expected
    for key in keys:
        pairs = node.value if isinstance(below, dict) else []
        node = next((inner for name, inner in pairs if name.value == key), None)
        below = below.get(key) if isinstance(below, dict) else None
    if node is not None and isinstance(node.value, str):
        _set(expected, keys, value)
        before, after = text[: node.start_mark.index], text[node.end_mark.index :]
        # Between braces, `models:/birds/3` is valid YAML for DVC only with quotes.
        for written in (yaml_text.scalar(value), f"'{value}'"):
            # Example: other values are YAML aliases of the old value. Then they would change too,
            # and `_holds` returns False.
            if _holds(before + written + after, expected):
                return before + written + after
    raise UserError(
        f"{PARAMS} must have a plain value, that is, no list, mapping or YAML alias, at "
        f"{'.'.join(keys)}; write {yaml_text.scalar(value)} there"
    )


def _set(tree: dict[str, Any], keys: Sequence[str], value: str | float) -> None:
    for key in keys[:-1]:
        tree = tree[key]
    tree[keys[-1]] = value


def _holds(text: str, tree: Any) -> bool:
    try:
        return bool(yaml_text.parse(text, PARAMS) == tree)
    except UserError:
        return False
