"""The registered versions that a training starts from → stand-ins in the MLflow of the folder."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from components.errors import UserError
from components.params.model import ALIAS, VERSION
from components.registry import stand_ins
from components.registry.versions import Version, download, find_version, versions
from components.tracking.connection import connect
from pipelines.workspace import dvc_files
from pipelines.workspace.processes import CommandFailedError, run
from pipelines.workspace.rebuild import Rebuild, end_of

log = logging.getLogger(__name__)

PARAMS = Path("params.yaml")


@dataclass(frozen=True)
class StandIn:
    """A version that the stages look for in MLflow. alias: an alias of it, or an empty text."""

    name: str
    number: int
    model_id: str
    alias: str
    file: str


def find_weights(rebuild: Rebuild, overrides: Path, started_from: str) -> list[StandIn]:
    """Return the versions that the stages may start from, and download their .keras files.

    overrides: the file with the hyperparameters of the search, below the folder; may be missing.
    started_from: the sha256 of the file from which the training started, if it is on record. It
    says which version an alias in params.yaml meant.
    Raises UserError if a version is not in MLflow, or if its file cannot be downloaded or is
    another file than params.yaml names.
    """
    texts = [dvc_files.read_text(rebuild.project / name) for name in (PARAMS, overrides)]
    named = dict.fromkeys(value for text in texts for value in _texts(yaml.safe_load(text)))
    return [found for value in named for found in _find(value, started_from)]


def put_weights(rebuild: Rebuild, found: Sequence[StandIn]) -> None:
    """Register the versions in the MLflow of the folder, which only the folder's stages use.

    Raises UserError if this MLflow fails.
    """
    if not found or "weights" in rebuild.done:
        return
    versions_text = json.dumps([asdict(version) for version in found])
    command = [str(rebuild.python), stand_ins.__file__, str(rebuild.project), versions_text]
    try:
        run(command, rebuild.environment, log.debug)
    except CommandFailedError as error:
        raise UserError(
            "the version that the training starts from cannot be copied into the folder; fix the "
            f"reason. Received: {end_of(error)}"
        ) from None
    rebuild.note("weights", [version.file for version in found])


def _find(value: str, started_from: str) -> Iterator[StandIn]:
    """Yield the version that a value of params.yaml names; nothing for all other values."""
    if match := VERSION.fullmatch(value):
        connect()
        version = find_version(match["name"], match["number"])
        if match["sha256"] not in (None, version.model_id):
            raise _other_store(value, f"version {version.number} is {version.model_id}")
        yield _stand_in(version, "")
    elif match := ALIAS.fullmatch(value):
        connect()
        name = value.removeprefix("models:/").partition("@")[0]
        known = [version for version in versions(name) if version.model_id == started_from]
        if not known:
            raise _other_store(value, f"no version is {started_from}")
        yield _stand_in(known[0], match["alias"])


def _stand_in(version: Version, alias: str) -> StandIn:
    file = str(download(version).absolute())
    return StandIn(version.name, version.number, version.model_id, alias, file)


def _other_store(value: str, found: str) -> UserError:
    return UserError(
        "this MLflow does not have the version from which the training started; set "
        f"MLFLOW_TRACKING_URI to the MLflow that has it. Received: {value}, but {found}"
    )


def _texts(tree: Any) -> Iterator[str]:
    """Yield all texts in the values of a tree of mappings and lists."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict | list):
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from _texts(value)
