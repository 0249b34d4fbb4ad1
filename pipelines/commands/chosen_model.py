"""The option --model of a command → the .keras file that it names, and its version in MLflow."""

import re
from dataclasses import dataclass
from pathlib import Path

from components.errors import UserError
from components.registry.versions import Version, download, find_version
from components.tracking.connection import connect
from pipelines import artifacts

# A version in MLflow by its number or by an alias; the sha256 is what `model.weights` has, too.
VERSION = re.compile(
    r"models:/(?P<name>[^/@#]+)(/(?P<number>[^/@#]+)|@(?P<alias>[^/@#]+))(#sha256=(?P<sha256>\w+))?"
)


@dataclass(frozen=True)
class ChosenModel:
    """A .keras file. version: its version in MLflow, if the option names one."""

    file: Path
    version: Version | None


def chosen_model(wanted: str | None, name: str) -> ChosenModel:
    """Return the model that the option --model names.

    wanted: a file, `models:/NAME/3`, `models:/NAME@champion`, or an alias such as `@champion`; None
    for the model of the workspace. name: the name of the registered model that aliases belong to.
    The file of a version is downloaded and checked. Raises UserError if there is no such version,
    if its file was changed, or if MLflow does not answer. A file is not checked.
    """
    if wanted is None:
        return ChosenModel(artifacts.MODEL, None)
    text = f"models:/{name}{wanted}" if wanted.startswith("@") else wanted
    if not text.startswith("models:"):
        return ChosenModel(Path(text), None)
    match = VERSION.fullmatch(text)
    if match is None:
        raise UserError(
            "--model must be a file, @ALIAS, models:/NAME@ALIAS or models:/NAME/VERSION, such as "
            f"models:/{name}/3. Received: {wanted}"
        )
    connect()
    version = find_version(match["name"], match["number"] or match["alias"])
    if match["sha256"] not in (None, version.model_id):
        raise UserError(
            f"--model: the sha256 of version {version.number} of {version.name} is "
            f"{version.model_id}; check MLFLOW_TRACKING_URI, or leave the sha256 out. "
            f"Received: {wanted}"
        )
    return ChosenModel(download(version), version)
