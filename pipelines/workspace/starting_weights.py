"""The champion in the registry → its reference as the value of `model.weights` in params.yaml.

The champion is the version of the registered model that has the alias `champion`. Training then
starts from the weights of this version, and a search begins with its hyperparameters.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from components.errors import UserError
from components.files import write_whole
from components.model.model_file import model_id
from components.params import yaml_text
from components.params.model import VERSION
from components.registry.hand_moves import champion_warning
from components.registry.standing import read_standing
from components.registry.versions import Version, champion, download
from components.tracking.connection import connect
from pipelines import artifacts
from pipelines.workspace.params_text import PARAMS, with_value
from pipelines.workspace.starting_point import with_champions_point

log = logging.getLogger(__name__)

WEIGHTS = ("model", "weights")


def write_champion(is_trained: Callable[[], bool]) -> Version | None:
    """Write the version with the alias `champion` into `model.weights` in params.yaml.

    Returns the version. In two cases a message is logged, params.yaml is not changed, and the
    result is None: there is no champion, or a model would be trained from itself on the same data.
    The second case is this: params.yaml names a version, the champion was trained from it in this
    workspace, and nothing has changed since. For example, `register.promote: auto` has made the
    last model the champion. Without this case, each run would train another version of it.

    is_trained: a function that returns whether the stage `train` and all stages before it are up to
    date.
    The old value of `model.weights` is replaced even if it is not valid, for example an alias.
    If `search.trials` is above 0, the hyperparameters of the version become a point of
    `search.start`, see `with_champions_point`.
    Raises UserError if MLflow does not answer, or if the file of the version is missing or was
    changed. Raises UserError if params.yaml is missing, is not valid YAML, has no value for
    `register.name` or `model.weights`, or breaks a rule with the new weights.
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
    if _is_own_model(version) and VERSION.fullmatch(str(_value(text, WEIGHTS))) and is_trained():
        log.info(
            f"the champion of {name}, version {version.number}, is the model of this folder, and "
            "nothing that training reads has changed, so training does not start again from it"
        )
        return None
    if warning := champion_warning(read_standing(name)):
        log.warning(warning)
    # If the file is missing or changed, the error must come now, not in a later stage.
    download(version)
    changed = with_value(text, WEIGHTS, version.reference)
    if changed == text:
        log.info(f"params.yaml already names the champion of {name}, version {version.number}")
    else:
        log.info(f"params.yaml: model.weights is now the champion, {version.reference}")
    changed = with_champions_point(changed, version, str(_value(text, WEIGHTS)))
    if changed != text:
        with write_whole(PARAMS) as temporary:
            temporary.write_bytes(changed.encode())
    return version


def _is_own_model(version: Version) -> bool:
    """Return whether the model file in this workspace is the model of the version."""
    return artifacts.MODEL.is_file() and model_id(artifacts.MODEL) == version.model_id


def _value(text: str, keys: Sequence[str]) -> Any:
    node = yaml_text.parse(text, PARAMS)
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    if node is None:
        raise UserError(f"write a value for {'.'.join(keys)} in {PARAMS}. Received: no value")
    return node
