"""The registry's champion → its version in params.yaml, where DVC, git and people see it."""

import copy
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from components.errors import UserError
from components.files import write_whole
from components.registry.versions import Version, champion, download
from components.tracking.connection import connect

log = logging.getLogger(__name__)

PARAMS = Path("params.yaml")
WEIGHTS = ("model", "weights")


def write_champion() -> Version | None:
    """Write the version that the alias `champion` is on into `model.weights`, and return it.

    None, with a line in the log, where there is no champion: params.yaml then stays as it is.
    The rest of params.yaml need not be valid: it may still have an alias as its weights.
    Raises UserError where MLflow does not answer, the file of the version is missing or was
    changed, or params.yaml has no such value.
    """
    text = PARAMS.read_bytes().decode()
    name = str(_value(text, ("register", "name")))
    connect()
    version = champion(name)
    if version is None:
        written = _value(text, WEIGHTS)
        log.info(f"{name} has no champion; training starts from what params.yaml says: {written}")
        return None
    download(version)  # what is wrong with its file shows now, not after hours of training
    changed = with_value(text, WEIGHTS, version.reference)
    if changed == text:
        log.info(f"params.yaml names the champion of {name} already, version {version.number}")
        return version
    with write_whole(PARAMS) as temporary:
        temporary.write_bytes(changed.encode())
    log.info(f"params.yaml: model.weights is now the champion, {version.reference}")
    return version


def with_value(text: str, keys: Sequence[str], value: str) -> str:
    """Return the text of a YAML file with another value at `keys`; comments and layout stay.

    Raises UserError where there is no plain value at `keys`.

    >>> with_value("model: { weights: none } # a start", ("model", "weights"), "imagenet")
    'model: { weights: imagenet } # a start'
    """
    expected = copy.deepcopy(_tree(text))
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    below: Any = expected
    for key in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((inner for name, inner in pairs if name.value == key), None)
    if isinstance(node, yaml.ScalarNode):
        for key in keys[:-1]:
            below = below[key]
        below[keys[-1]] = value
        changed = text[: node.start_mark.index] + value + text[node.end_mark.index :]
        # A value over several lines, or one that other values refer to, cannot be changed alone.
        if _holds(changed, expected):
            return changed
    raise UserError(f"{PARAMS} must have one plain value at {'.'.join(keys)}: write {value} there")


def _holds(text: str, tree: Any) -> bool:
    try:
        return bool(yaml.safe_load(text) == tree)
    except yaml.YAMLError:
        return False


def _value(text: str, keys: Sequence[str]) -> Any:
    node = _tree(text)
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    if node is None:
        raise UserError(f"{'.'.join(keys)} is missing; every value must be written out")
    return node


def _tree(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{PARAMS} is not valid YAML: {problem}") from None
