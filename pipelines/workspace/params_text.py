"""The text of params.yaml and a new value → the text with this value, and with all comments."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.params import yaml_text
from components.params.sentences import in_yaml

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
    node, _ = _at(text, expected, keys)
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


def with_item(
    text: str, keys: Sequence[str], item: Mapping[str, Any], instead_of: Mapping[str, Any] | None
) -> str:
    """Return the text of a YAML file with one more mapping in the list at `keys`, as its first one.

    If the list has the mapping `instead_of`, this one is replaced. Nothing else is changed.
    text: the text of the file. keys: the keys from the top of the file down to the list. item: the
    mapping, key → plain value.
    Raises UserError if the text is not valid YAML, if there is no list at `keys`, or if the list
    cannot be changed without changing other values.

    >>> with_item("start: [] # points", ("start",), {"model.dropout": 0.4}, None)
    'start: [{model.dropout: 0.4}] # points'
    """
    expected = copy.deepcopy(yaml_text.parse(text, PARAMS))
    node, items = _at(text, expected, keys)
    if node is not None and isinstance(items, list):
        place = items.index(instead_of) if instead_of in items else None
        if place is None:
            items.insert(0, dict(item))
        else:
            items[place] = dict(item)
        # As for `with_value`: some texts need quotes between braces.
        for written in (yaml_text.one_line_mapping(item), in_yaml(item)):
            changed = _written_into(text, node, place, written)
            if _holds(changed, expected):
                return changed
    raise UserError(
        f"{PARAMS} must have a list, and no YAML alias, at {'.'.join(keys)}; write "
        f"[{in_yaml(item)}] there"
    )


def _written_into(text: str, node: Any, place: int | None, item: str) -> str:
    """Return the text with one item of a list replaced, or with a new first item.

    node: the list. place: the position of the item to replace, or None. item: its new text.
    """
    if place is not None:
        old = node.value[place]
        # The end of a mapping in lines of its own is after the comments that follow it.
        last = old if old.flow_style else old.value[-1][1]
        return text[: old.start_mark.index] + item + text[last.end_mark.index :]
    start = node.start_mark.index
    if node.flow_style:
        separator = ", " if node.value else ""
        return f"{text[: start + 1]}{item}{separator}{text[start + 1 :]}"
    return f"{text[:start]}- {item}\n{' ' * node.start_mark.column}{text[start:]}"


def _at(text: str, tree: Any, keys: Sequence[str]) -> tuple[Any, Any]:
    """Return the node and the value at `keys`; None and None if there is none.

    tree: the parsed text.
    """
    node = yaml_text.compose(text)
    for key in keys:
        pairs = node.value if isinstance(tree, dict) else []
        node = next((inner for name, inner in pairs if name.value == key), None)
        tree = tree.get(key) if isinstance(tree, dict) else None
    return node, tree


def _set(tree: dict[str, Any], keys: Sequence[str], value: str | float) -> None:
    for key in keys[:-1]:
        tree = tree[key]
    tree[keys[-1]] = value


def _holds(text: str, tree: Any) -> bool:
    try:
        return bool(yaml_text.parse(text, PARAMS) == tree)
    except UserError:
        return False
