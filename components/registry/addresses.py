"""A path, `models:/NAME@ALIAS` or `models:/NAME/NUMBER` → a .keras file with known bytes."""

import re
from dataclasses import dataclass
from pathlib import Path

from components.errors import UserError
from components.registry.versions import Version, download, find_version
from components.tracking.connection import connect

# A version by its number or by an alias; the sha256 is what `model.weights` has, too.
ADDRESS = re.compile(
    r"models:/(?P<name>[^/@#]+)(/(?P<number>[^/@#]+)|@(?P<alias>[^/@#]+))(#sha256=(?P<sha256>\w+))?"
)


@dataclass(frozen=True)
class ModelFile:
    """A .keras file. version: the version in MLflow that it belongs to; None for a plain file."""

    path: Path
    version: Version | None


def find_model(address: str, place: str) -> ModelFile:
    """Return the .keras file that an address names. It is not opened, and may be missing.

    address: the path of a file, or a version in MLflow such as `models:/digits/3` or
    `models:/digits@champion`. The file of a version is downloaded into the folder DOWNLOADS, if it
    is not there. place: what error messages call the address, such as `--model`.

    Raises UserError if there is no such version, if its file has other bytes than at its
    registration, if the address is neither, or if MLflow does not answer.
    """
    if not address.startswith("models:"):
        return ModelFile(Path(address), None)
    match = ADDRESS.fullmatch(address)
    if match is None:
        raise UserError(
            f"{place} must be a file, models:/NAME@ALIAS or models:/NAME/VERSION, such as "
            f"models:/digits@champion. Received: {address}"
        )
    connect()
    version = find_version(match["name"], match["number"] or match["alias"])
    if match["sha256"] not in (None, version.model_id):
        raise UserError(
            f"{place}: the sha256 of version {version.number} of {version.name} is "
            f"{version.model_id}; check MLFLOW_TRACKING_URI, or leave the sha256 out. "
            f"Received: {address}"
        )
    return ModelFile(download(version), version)
