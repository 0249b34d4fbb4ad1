"""A .keras file → a registered version with an alias; a version → its .keras file, checked.

A registered model is a name in MLflow, such as `digits`. Its versions 1, 2, 3, … are models. An
alias is a name for one version that can be moved to another version. The champion is the version
that is in use, and the challenger is the new version that may replace the champion.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.errors import UserError, one_line
from components.files import sha256
from components.registry.mlflow_folder import WEIGHTS, log_model
from components.registry.record import last_decision, read_record
from components.tracking.connection import address, client, connect
from components.tracking.runs import Run

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
CHALLENGER = "challenger"
# The last decision of a reviewer about a version is in a tag of the version. REVIEW is the key of
# this tag. The three constants in the next line are the possible values of the tag.
REVIEW = "review"
PROMOTED, REJECTED, ROLLED_BACK = "promoted", "rejected", "rolled back"
# The tags of a version are its lineage (what it was made from) and the last judgement of the gate.
# These are the keys of the judgement. All other tags that are given at the registration are the
# lineage, which is written once and never changed.
TEST_ID = "test_id"  # names the test images of the judgement and their labels
COMPARED_WITH = "compared_with"  # the number of the champion; `none` if there was no champion
BLESSING = "blessing"  # what a server of the version has shown, see blessing.py
JUDGEMENT = (BLESSING, "verdict", "reasons", COMPARED_WITH, TEST_ID)
# The folder for downloaded files. The name of a file is `<sha256>.keras`. All code that loads a
# version uses this folder, so a file is downloaded only once. The folder may be deleted at any
# time; then the files are downloaded again when they are needed.
DOWNLOADS = Path(".fovea/weights")


@dataclass(frozen=True)
class Version:
    """One version of a registered model, as it was when it was read from MLflow.

    name: the name of the registered model. number: the number of the version. tags: key → value of
    the version's tags, such as verdict and reasons. aliases: the version's aliases. run: the MLflow
    run in which the model was trained. created_ms: the time of the registration, Unix time in
    milliseconds. description: the text on MLflow's page of the version, Markdown.
    """

    name: str
    number: int
    tags: Mapping[str, str]
    aliases: tuple[str, ...]
    run: Run
    created_ms: int
    description: str = ""

    @property
    def model_id(self) -> str:
        """Return the sha256 that the .keras file must have.

        If the version was not registered by Fovea, the result is the empty string.
        """
        return self.tags.get("model_id", "")

    @property
    def reference(self) -> str:
        """Return the value of `model.weights` in params.yaml that stands for this version."""
        return f"models:/{self.name}/{self.number}#sha256={self.model_id}"


def register_version(
    name: str,
    model_path: Path,
    run: Run,
    example: NDArray[np.uint8],
    classes: int,
    tags: Mapping[str, str],
    shown: Sequence[str] = (),
) -> int:
    """Register a .keras file as a version with tags, and return the version's number.

    If the file is registered already (a version has the sha256 of the file), no new version is
    created. Then the judgement of the existing version (the tags with a key in JUDGEMENT) is
    replaced, and its number is returned. Its lineage, all other tags, stays as it is.

    The version gets the alias `challenger`, with two exceptions: the version is the champion, or a
    reviewer has rejected or rolled back this model.

    name: the name of the registered model. model_path: the path of the .keras file. run: the MLflow
    run in which the model was trained. example: uint8 [1, size, size, 3], a real image as an
    example of the input. classes: the number of classes of the model. tags: key → value of the
    tags, such as git.commit, verdict and reasons. shown: the names of metrics of `run` that MLflow
    also shows on the page of the model. Raises UserError if MLflow does not answer.
    """
    connect()
    model_id = sha256(model_path)
    known = version_of_model(versions(name), model_id)
    if known is None:
        all_tags = {**tags, "model_id": model_id, "training_run_id": run.id}
        logged_id = log_model(name, model_path, run, example, classes, shown)
        number = _create_version(name, logged_id, run, all_tags)
    else:
        number = known.number
        tag_version(name, number, {key: tags[key] for key in JUDGEMENT if key in tags})
    version = find_version(name, str(number))
    record = read_record(client().get_registered_model(name).tags)
    decision = last_decision(record, number, model_id)
    declined = decision is not None and decision.declines
    if CHAMPION not in version.aliases and not declined:
        client().set_registered_model_alias(name, CHALLENGER, str(number))
    return number


def versions(name: str) -> tuple[Version, ...]:
    """Return all versions of a registered model, oldest first; empty if there is no such model."""
    from mlflow.exceptions import MlflowException

    try:
        aliases = client().get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return ()
        raise
    held: dict[int, list[str]] = {}
    for alias, number in aliases.items():
        held.setdefault(int(number), []).append(alias)
    rows = [
        Version(
            name=name,
            number=int(row.version),
            tags=dict(row.tags),
            aliases=tuple(sorted(held.get(int(row.version), []))),
            run=Run(row.run_id or ""),
            created_ms=int(row.creation_timestamp),
            description=row.description or "",
        )
        for row in _pages(name)
    ]
    return tuple(sorted(rows, key=lambda version: version.number))


def champion(name: str) -> Version | None:
    """Return the version with the alias `champion`, or None if no version has this alias."""
    return version_with_alias(versions(name), CHAMPION)


def challenger(name: str) -> Version | None:
    """Return the version with the alias `challenger`, or None if there is no challenger."""
    return version_with_alias(versions(name), CHALLENGER)


def find_version(name: str, wanted: str) -> Version:
    """Return the version with the number or the alias `wanted`.

    name: the name of the registered model. wanted: the number, such as `3` or `v3`, or the alias,
    such as `champion`. Raises UserError if no version has this number or alias; the message lists
    the existing versions.
    """
    return find_version_in(versions(name), name, wanted)


def find_version_in(existing: Sequence[Version], name: str, wanted: str) -> Version:
    """Return the version of `existing` that `find_version` returns, without asking MLflow."""
    number = wanted.strip().lower().removeprefix("v")
    for version in existing:
        if str(version.number) == number:
            return version
    # An alias may look like a number, so it counts only if no version has the number.
    for version in existing:
        if wanted in version.aliases:
            return version
    raise UserError(f"{name} at {address()} has {_in_words(existing)}. Received: {wanted}")


def version_with_alias(existing: Sequence[Version], alias: str) -> Version | None:
    """Return the version of `existing` that has the alias, or None."""
    return next((version for version in existing if alias in version.aliases), None)


def version_of_model(existing: Sequence[Version], model_id: str) -> Version | None:
    """Return the version of `existing` whose model file has the sha256 `model_id`, or None.

    model_id: 64 hex digits; the empty string, as of a version without a model_id, finds nothing.
    """
    same = (version for version in existing if version.model_id == model_id)
    return next(same, None) if model_id else None


def tag_version(name: str, number: int, tags: Mapping[str, str]) -> None:
    """Set tags of a version. A tag that exists already gets the new value."""
    for key, value in tags.items():
        client().set_model_version_tag(name, str(number), key, value)


def release_challenger(name: str, number: int) -> None:
    """Remove the alias `challenger` if the version with this number has it."""
    holder = challenger(name)
    if holder is not None and holder.number == number:
        client().delete_registered_model_alias(name, CHALLENGER)


def download(version: Version) -> Path:
    """Return the path of the version's .keras file in the folder DOWNLOADS.

    If this folder does not have the file, or the sha256 of the file is wrong, the file is
    downloaded from MLflow. The sha256 of the downloaded file is checked, too. So Fovea never loads
    a file that was changed. Raises UserError if the file cannot be downloaded or was changed in
    MLflow, or if the version was not registered by Fovea.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    called = f"models:/{version.name}/{version.number}"
    if not version.model_id:
        raise UserError(
            "this version was not registered by Fovea (it has no tag model_id), so it is not "
            f"loaded; choose another version. Received: {called}"
        )
    kept = DOWNLOADS / f"{version.model_id}.keras"
    if kept.is_file() and sha256(kept) == version.model_id:
        return kept
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DOWNLOADS) as folder:
        try:
            client()  # This call sets the address that download_artifacts uses.
            fetched = Path(download_artifacts(f"{called}/{WEIGHTS}", dst_path=folder))
            actual = sha256(fetched)
        except (MlflowException, OSError) as error:
            reason = one_line(error)
            raise UserError(
                f"the file {WEIGHTS} of this version cannot be downloaded from MLflow ({reason}). "
                f"Received: {called}"
            ) from error
        if actual != version.model_id:
            raise UserError(
                f"the file of this version was changed since it was registered: its sha256 is "
                f"{actual}, and should be {version.model_id}; the file is not loaded. "
                f"Received: {called}"
            )
        fetched.replace(kept)
    return kept


def forget_download(version: Version) -> None:
    """Delete the version's file in DOWNLOADS, so that `download` takes what MLflow stores now."""
    (DOWNLOADS / f"{version.model_id}.keras").unlink(missing_ok=True)


def _create_version(name: str, logged_id: str, run: Run, tags: Mapping[str, str]) -> int:
    from mlflow.exceptions import MlflowException

    # If the registered model exists already, create_registered_model raises an exception, which is
    # ignored. If the exception has another cause (for example, MLflow does not answer), the next
    # call fails as well, and its exception is not ignored.
    with suppress(MlflowException):
        client().create_registered_model(name)
    created = client().create_model_version(
        name, f"models:/{logged_id}", run.id, tags=dict(tags), model_id=logged_id
    )
    # MLflow shows a link to the version on the page of the run only if the logged model has this
    # tag. The function mlflow.register_model, which is not used here, sets the same tag.
    registered = json.dumps([{"name": name, "version": created.version}])
    client().set_logged_model_tags(logged_id, {"mlflow.modelVersions": registered})
    return int(created.version)


def _pages(name: str) -> Iterator["ModelVersion"]:
    page = client().search_model_versions(f"name = '{name}'")
    yield from page
    while page.token:
        page = client().search_model_versions(f"name = '{name}'", page_token=page.token)
        yield from page


def _in_words(existing: Sequence[Version]) -> str:
    if not existing:
        return "no version yet; `fovea register` registers the model of this workspace"
    names = [
        f"{version.number} ({', '.join(version.aliases)})"
        if version.aliases
        else str(version.number)
        for version in existing
    ]
    return f"only version {', '.join(names)}" if len(names) == 1 else f"versions {', '.join(names)}"
