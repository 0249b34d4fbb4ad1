"""The champion in the registry → its reference as the value of `model.weights` in params.yaml.

The champion is the version of the registered model that has the alias `champion`. Training then
starts from the weights of this version.
"""

import logging
from collections.abc import Sequence
from typing import Any

from components.errors import UserError
from components.files import write_whole
from components.params import yaml_text
from components.registry.versions import Version, champion, download
from components.tracking.connection import connect
from pipelines.workspace.params_text import PARAMS, with_value

log = logging.getLogger(__name__)

WEIGHTS = ("model", "weights")


def write_champion() -> Version | None:
    """Write the version with the alias `champion` into `model.weights` in params.yaml.

    Returns the version. If there is no champion, a message is logged, params.yaml is not changed,
    and the result is None.
    The old value of `model.weights` is replaced even if it is not valid, for example an alias.
    Raises UserError if MLflow does not answer, or if the file of the version is missing or was
    changed. Raises UserError if params.yaml is missing, is not valid YAML, or has no value for
    `register.name` or `model.weights`.
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
        log.info(f"{name} has no champion; training starts from params.yaml's weights: {written}")
        return None
    # If the file is missing or changed, the error must come now, not in a later stage.
    download(version)
    changed = with_value(text, WEIGHTS, version.reference)
    if changed == text:
        log.info(f"params.yaml already names the champion of {name}, version {version.number}")
        return version
    with write_whole(PARAMS) as temporary:
        temporary.write_bytes(changed.encode())
    log.info(f"params.yaml: model.weights is now the champion, {version.reference}")
    return version


def _value(text: str, keys: Sequence[str]) -> Any:
    node = yaml_text.parse(text, PARAMS)
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    if node is None:
        raise UserError(f"write a value for {'.'.join(keys)} in {PARAMS}. Received: no value")
    return node
