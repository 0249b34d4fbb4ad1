"""The registry's champion → its version in params.yaml, where DVC, git and people see it."""

import logging
from collections.abc import Sequence
from typing import Any

from components.errors import UserError
from components.files import write_whole
from components.registry.versions import Version, champion, download
from components.tracking.connection import connect
from pipelines.workspace.params_text import PARAMS, read_tree, with_value

log = logging.getLogger(__name__)

WEIGHTS = ("model", "weights")


def write_champion() -> Version | None:
    """Write the version that the alias `champion` is on into `model.weights`, and return it.

    None, with a line in the log, where there is no champion: params.yaml then stays as it is.
    The rest of params.yaml need not be valid: it may still have an alias as its weights.
    Raises UserError where MLflow does not answer, the file of the version is missing or was
    changed, or params.yaml has no such value.
    """
    if not PARAMS.is_file():
        raise UserError(
            f"no params file; run from the repository's root. Received: {PARAMS.absolute()}"
        )
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


def _value(text: str, keys: Sequence[str]) -> Any:
    node = read_tree(text)
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    if node is None:
        raise UserError(f"{'.'.join(keys)} is missing; every value must be written out")
    return node
