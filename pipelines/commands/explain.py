"""The tags of a model version → its code, data and params, and the commands that build it again.

The lineage of a version is the code, data, params and weights that it was made from.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from components.files import sha256
from components.registry.hand_moves import champion_warning
from components.registry.snapshot import Snapshot
from components.registry.versions import CHAMPION, DOWNLOADS, Version
from components.tracking.connection import address
from pipelines import artifacts
from pipelines.commands.console import show_facts, show_json, show_lines
from pipelines.commands.review import read_registry, show_warning
from pipelines.workspace.model_commits import commit_of_model, md5_of_file

MISSING = "not recorded"
# What a missing tag means, if it is not `not recorded`.
UNSET = {"dvc.experiment": "none"}
# The facts to print: heading → name of a fact below this heading → the tag with its value.
LINEAGE = {
    "code": {
        "git commit": "git.commit",
        "date of the commit": "git.commit_date",
        "uncommitted changes": "git.dirty",
        "experiment (DVC)": "dvc.experiment",
    },
    "data": {
        "data/raw (DVC)": "dvc.data_raw",
        "images and labels": "data_id",
        "splits (DVC)": "dvc.splits",
        "split of each image": "split_id",
        "prepared (DVC)": "dvc.prepared",
    },
    "params": {
        "params.yaml": "params",
        "hyperparameters (DVC)": "dvc.hyperparameters",
        "seed of the splits": "split.seed",
        "seed of the training": "train.seed",
    },
    "training": {
        "Python": "python",
        "packages": "packages",
        "requirements.lock": "environment",
        "backend of Keras": "backend",
        "threads of the network": "train.threads",
        "precision of the training": "train.precision",
        "processors": "threads",
        "workers": "workers",
        "processor": "processor",
    },
}


def show_lineage(name: str, wanted: str, *, as_json: bool = False) -> None:
    """Print the lineage of a version, and the commands that build it again.

    name: the name of the registered model. wanted: the number or an alias of the version. as_json:
    print JSON; docs/reviewing.md has its keys.
    Raises UserError if there is no such version, or if MLflow does not answer.
    """
    registry = read_registry(name, as_json=as_json)
    version = registry.find(wanted)
    if as_json:
        show_json(_tree(version, registry))
        return
    if CHAMPION in version.aliases:
        show_warning(registry)
    show_facts(f"version {version.number} of {name}", dict(_identity(version)))
    for heading, fields in LINEAGE.items():
        facts = {label: _value(version, tag) for label, tag in fields.items()}
        show_facts(heading, facts)
    show_facts("weights", {"started from": _start(version, registry)})
    show_facts("runs", dict(_runs(version)))
    show_lines("to build it again:", style="bold")
    show_lines(*(f"  {line}" for line in _commands(version)))


def _value(version: Version, tag: str) -> str:
    """Return the value of a tag.

    Older versions have one tag `seed`, because splits and training had the same seed.
    """
    one_seed = version.tags.get("seed", MISSING) if tag.endswith(".seed") else MISSING
    return version.tags.get(tag, one_seed)


def _tree(version: Version, registry: Snapshot) -> dict[str, Any]:
    """Return the lineage for JSON. A fact that is not recorded is None."""
    tags = version.tags
    known = {other.model_id: other.number for other in registry.versions}
    start = tags.get("started_from")
    return {
        "name": version.name,
        "version": version.number,
        "store": address(),
        "registered": _registered(version).isoformat(timespec="seconds"),
        "aliases": list(version.aliases),
        "model_id": version.model_id or None,
        **{tag: tags.get(tag) for tag in ("verdict", "reasons", "compared_with", "review")},
        "review_reason": tags.get("review.reason"),
        "lineage": {tag: tags.get(tag) for part in LINEAGE.values() for tag in part.values()},
        "started_from": start,
        "started_from_version": known.get(start) if start else None,
        "training_run_id": tags.get("training_run_id"),
        "prefect_flow_run_id": tags.get("prefect.flow_run_id"),
        "commands": list(_commands(version)),
        "warnings": list(filter(None, [champion_warning(registry.standing)])),
    }


def _registered(version: Version) -> datetime:
    return datetime.fromtimestamp(version.created_ms / 1000, UTC)


def _identity(version: Version) -> Iterator[tuple[str, str]]:
    yield "registered", f"{_registered(version):%Y-%m-%d %H:%M:%S} UTC"
    yield "aliases", ", ".join(version.aliases) or "none"
    yield "sha256", version.model_id or MISSING
    yield "verdict", version.tags.get("verdict", MISSING)
    yield "reasons", version.tags.get("reasons", MISSING)
    if "review" in version.tags:
        yield "review", f"{version.tags['review']}: {version.tags.get('review.reason', '')}"


def _start(version: Version, registry: Snapshot) -> str:
    """Return a text that says from which weights the training started.

    The text is `none` (random weights), `imagenet`, `not recorded`, or the sha256 of a .keras file.
    If a version of the same registered model has this file, the text also names this version.
    """
    start = version.tags.get("started_from", MISSING)
    origins = [other for other in registry.versions if other.model_id == start]
    return f"models:/{version.name}/{origins[0].number} ({start})" if origins else start


def _runs(version: Version) -> Iterator[tuple[str, str]]:
    yield "MLflow", address()
    yield "training run", version.tags.get("training_run_id", MISSING)
    yield (
        "Prefect flow run",
        version.tags.get("prefect.flow_run_id", "none; `dvc repro` ran the stages"),
    )


def _commands(version: Version) -> Iterator[str]:
    yield f"fovea reproduce {version.number}   # does all of this in an empty folder, and compares"
    holding = _commit_with_model(version)
    commit, dirty = version.tags.get("git.commit", MISSING), version.tags.get("git.dirty", "no")
    if holding is not None:
        yield f"git checkout {holding}   # its dvc.lock has this model"
    elif len(commit) == 40:
        yield f"git checkout {commit}   # no commit with this model in its dvc.lock was found"
        if dirty != "no":
            yield f"# these files had uncommitted changes; make the same changes again: {dirty[5:]}"
    else:
        yield f"# no commit with this model in its dvc.lock was found; git commit: {commit}"
    yield "dvc checkout   # or dvc pull, if the data are only on a remote"
    yield "dvc repro      # takes the model from DVC's cache; with --force, trains it again"
    yield f"sha256sum data/train/model.keras   # {version.model_id}"


def _commit_with_model(version: Version) -> str | None:
    """Return the commit whose dvc.lock has the model of a version; None if none is found.

    A version of an older Fovea has no md5 of its model. Then the file must be in this workspace.
    """
    md5 = version.tags.get("dvc.model")
    if md5 is None:
        files = (artifacts.MODEL, DOWNLOADS / f"{version.model_id}.keras")
        same = (file for file in files if file.is_file() and sha256(file) == version.model_id)
        md5 = next((md5_of_file(file) for file in same), None)
    return None if md5 is None else commit_of_model(md5)
