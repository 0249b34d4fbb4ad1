"""verdict.json, the versions in MLflow → which version is the model of this workspace, if any.

The verdict in this workspace can be of another MLflow (after `dvc pull`), of an experiment (after
`dvc exp apply`) or of an older commit (after `git checkout`). Then its model is not the challenger,
or has another number in this MLflow, or none.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from components.errors import UserError
from components.registry.versions import (
    CHALLENGER,
    Version,
    find_version_in,
    version_of_model,
    version_with_alias,
    versions,
)
from components.tracking.connection import address, connect
from pipelines import artifacts
from pipelines.formats import read_tree

SHOWN = 12  # characters of a sha256


def check_meant(name: str, wanted: str | None) -> None:
    """Raise UserError if a decision would be about another model than this workspace shows.

    name: the name of the registered model. wanted: the number or alias that the user typed; None
    for the challenger. A number that verdict.json does not have is taken as it is, unless the model
    of this workspace is of an experiment that has no version. If there is no verdict.json, or if an
    older Fovea wrote it, nothing is checked.
    """
    verdict = _verdict(name)
    if verdict is None:
        return
    connect()
    existing = versions(name)
    version = find_version_in(existing, name, wanted or CHALLENGER)
    known = version_of_model(existing, verdict["model_id"])
    by_alias = wanted in (None, CHALLENGER)
    if version == known or not (by_alias or _is_mistakable(version, known, verdict)):
        return
    advice = (
        f"this model is version {known.number}: give the number of the version that you mean"
        if known
        else "`fovea register` registers this model"
    )
    raise UserError(
        f"version {version.number} of {name} at {address()} is not the model of this workspace, "
        f"whose sha256 is {verdict['model_id'][:SHOWN]}…; {advice}. "
        f"Received: {wanted or CHALLENGER}"
    )


def takes_number(version: Version, existing: Sequence[Version]) -> bool:
    """Return False if `check_meant` refuses a decision on the number of this version."""
    verdict = _verdict(version.name)
    if verdict is None:
        return True
    known = version_of_model(existing, verdict["model_id"])
    return version == known or not _is_mistakable(version, known, verdict)


def warnings(name: str, existing: Sequence[Version]) -> Iterator[str]:
    """Yield a line if the challenger is not the model of this workspace.

    name: the name of the registered model. existing: its versions.
    """
    verdict = _verdict(name)
    proposed = version_with_alias(existing, CHALLENGER)
    if verdict is None or proposed is None or proposed.model_id == verdict["model_id"]:
        return
    known = version_of_model(existing, verdict["model_id"])
    if known is None:
        yield (
            f"the model of this workspace (sha256 {verdict['model_id'][:SHOWN]}…) has no version "
            f"at {address()}; `fovea register` registers it"
        )
    else:
        yield f"the challenger is not the model of this workspace, which is version {known.number}"


def _is_mistakable(version: Version, known: Version | None, verdict: dict[str, Any]) -> bool:
    """Return True if the number of a version seems to name the model of the workspace.

    version: another version. known: the version of the model of the workspace, if there is one.
    verdict: the content of verdict.json.
    """
    of_experiment = verdict["version"] is None and known is None
    return of_experiment or verdict["version"] == version.number


def _verdict(name: str) -> dict[str, Any] | None:
    """Return the content of verdict.json; None if it is missing, or if it is not usable.

    It is not usable if the verdict is on another registered model, or if an older Fovea wrote it,
    without model_id.
    """
    if not artifacts.VERDICT.is_file():
        return None
    tree: dict[str, Any] = read_tree(artifacts.VERDICT)
    return tree if "model_id" in tree and tree["name"] == name else None
