"""The repository as it is now → tags that name the code, data and params of a run or a model."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from components.errors import UserError
from components.params import yaml_text
from components.tracking.connection import dvc_experiment
from components.tracking.record_kinds import ADOPTED
from components.tracking.runs import NO_VALUE, Origin
from pipelines import artifacts
from pipelines.workspace import dvc_files, machine
from pipelines.workspace.git import GitError, git, reason
from pipelines.workspace.model_commits import md5_of_file

FLOW_RUN_VARIABLES = ("FOVEA_FLOW_RUN_ID", "PREFECT__FLOW_RUN_ID")
# The tag `git.dirty` names files with uncommitted changes. It does not name the files in this set.
# DVC writes dvc.lock while the stages run, so `git.dirty` would name dvc.lock in each run. Other
# tags have the hashes in dvc.lock.
NOT_A_CHANGE = {"dvc.lock"}
# The keys of the tags that `lineage` returns, now or in an earlier Fovea.
KEYS = (
    "git.commit",
    "git.commit_date",
    "git.dirty",
    "dvc.data_raw",
    "dvc.splits",
    "dvc.prepared",
    "dvc.hyperparameters",
    "dvc.experiment",
    "data_id",
    "split_id",
    "params",
    "seed",
    "split.seed",
    "train.seed",
    "train.threads",
    "train.precision",
    "environment",
    "prefect.flow_run_id",
)
SHOWN_PATHS = 10
LONGEST_NAME = 200


def origin(root: Path = Path()) -> Origin:
    """Return the origin of a run that starts now: tags, user, and the path and hash of the data."""
    tags = lineage(root)
    digest = data_hash(root) or tags.get("data_id", "untracked")
    return Origin(tags, who(root), str(artifacts.RAW), digest)


def lineage(root: Path = Path()) -> dict[str, str]:
    """Return the tags that every run and every model version has.

    root: the repository's root. If git does not work, the tag `git.commit` has the reason. If
    another value is unknown, its tag is left out. No error is raised if git does not work, or if a
    file is missing or damaged, because a missing tag must not stop a training.
    """
    lock = dvc_files.read_text(root / "dvc.lock")
    statistics = _tree(root / artifacts.STATISTICS)
    params = _params(root / "params.yaml")
    tags = {
        **_git_tags(root),
        "dvc.data_raw": data_hash(root),
        "dvc.splits": _lock_hash(lock, "split", "outs"),
        "dvc.prepared": _lock_hash(lock, "prepare", "outs"),
        "dvc.hyperparameters": _lock_hash(lock, "search", "outs", "hyperparameters.yaml"),
        "dvc.experiment": dvc_experiment(),
        "data_id": statistics.get("data_id"),
        "split_id": statistics.get("split_id"),
        "params": yaml_text.digest(params) if params else None,
        "split.seed": _param(params, "split", "seed"),
        "train.seed": _param(params, "train", "seed"),
        "train.threads": _param(params, "train", "threads"),
        "train.precision": _param(params, "train", "precision"),
        "environment": _file_sha256(root / "requirements.lock"),
        "prefect.flow_run_id": next(filter(None, map(os.environ.get, FLOW_RUN_VARIABLES)), None),
    }
    return {key: str(value) for key, value in tags.items() if value is not None}


def lineage_of_model(file: Path, trained: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that a new version gets once and for ever.

    The tags are about the training, not about this machine and this moment: the version may be
    registered days later, on another machine. If this MLflow did not see the training, the tags are
    about the workspace as it is now, and nothing is said about packages, threads and processor.

    file: the path of the model file. trained: the tags of the MLflow run of the model.
    """
    by_training = ADOPTED not in trained
    known = trained if by_training else lineage()
    tags = {key: known[key] for key in (*KEYS, *machine.KEYS) if key in known}
    return {**tags, "dvc.model": md5_of_file(file)}


def data_hash(root: Path = Path()) -> str | None:
    """Return DVC's hash of data/raw, `<32 hex digits>.dir`; None if DVC does not track data/raw.

    If the stage `ingest` has run, the result is the hash of the data that the stage read, from
    dvc.lock. Otherwise it is the hash of the data that was added to DVC, from data/raw.dvc.
    """
    lock = dvc_files.read_text(root / "dvc.lock")
    added = dvc_files.added_outs(dvc_files.read_text(root / "data/raw.dvc"))
    return _lock_hash(lock, "ingest", "deps", "data/raw") or next(iter(added.values()), None)


def who(root: Path = Path()) -> str:
    """Return the user's name: git's user.name, or the login name, or `unknown`.

    The name is cut after LONGEST_NAME characters.
    """
    try:
        name = git("config", "user.name", root=root).stdout.strip()
    except GitError:
        name = ""
    name = name or os.environ.get("USER") or os.environ.get("LOGNAME") or "unknown"
    return name[:LONGEST_NAME]


def _git_tags(root: Path) -> dict[str, str]:
    try:
        head = git("rev-parse", "--verify", "HEAD", root=root)
        status = git("status", "--porcelain", "-z", root=root)
    except GitError as error:
        return {"git.commit": f"{NO_VALUE}{error})"}
    if status.returncode:
        return {"git.commit": f"{NO_VALUE}{reason(status)})"}
    dirty = {"git.dirty": _dirty(status.stdout)}
    if head.returncode:
        return {"git.commit": f"{NO_VALUE}no commit yet)", **dirty}
    commit = head.stdout.strip()
    date = commit_date(commit, root)
    return {"git.commit": commit, **({"git.commit_date": date} if date else {}), **dirty}


def commit_date(commit: str, root: Path = Path()) -> str | None:
    """Return the day of a commit, such as `2026-11-28`; None if git does not know the commit."""
    try:
        # `git show` would also print what the user's settings ask for, such as signatures.
        listed = git("rev-list", "--max-count=1", "--format=%cs", commit, root=root)
    except GitError:
        return None
    return None if listed.returncode else listed.stdout.split()[-1]


def _dirty(status: str) -> str:
    """Return `no`, or `yes` with the first SHOWN_PATHS paths of changed and untracked files.

    status: the output of `git status --porcelain -z`.
    """
    entries = iter(status.split("\0"))
    paths = []
    for entry in entries:
        paths.append(entry[3:])
        if entry[:1] in ("R", "C"):  # The next entry is the old path of a renamed or copied file.
            next(entries, None)
    changed = sorted(set(paths) - NOT_A_CHANGE - {""})
    more = f" and {len(changed) - SHOWN_PATHS} more" * (len(changed) > SHOWN_PATHS)
    return f"yes: {', '.join(changed[:SHOWN_PATHS])}{more}" if changed else "no"


def _lock_hash(
    lock: str, stage: str, kind: Literal["deps", "outs"], ending: str = ""
) -> str | None:
    """Return one hash of the deps or outs of a stage. Only paths that end with `ending` are used.

    lock: the text of dvc.lock. stage: the name of the stage. kind: `deps` or `outs`.
    If one path is used, the result is its hash in dvc.lock. If several paths are used, the result
    is a sha256 of their paths and hashes. If no path ends with `ending`, the result is None.
    """
    hashes = dvc_files.stage_files(lock, stage, kind)
    wanted = {path: value for path, value in hashes.items() if path.endswith(ending)}
    if len(wanted) > 1:
        return yaml_text.digest(wanted)
    return next(iter(wanted.values()), None)


def _tree(path: Path) -> dict[str, Any]:
    return dvc_files.parse(dvc_files.read_text(path))


def _params(path: Path) -> dict[str, Any]:
    """Return the values in params.yaml, or an empty dict if the file is missing or not valid."""
    try:
        tree = yaml_text.parse(dvc_files.read_text(path), path)
    except UserError:
        return {}
    return tree if isinstance(tree, dict) else {}


def _param(params: Mapping[str, Any], section: str, name: str) -> Any:
    values = params.get(section)
    return values.get(name) if isinstance(values, dict) else None


def _file_sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
