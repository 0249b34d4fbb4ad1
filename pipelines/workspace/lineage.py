"""The repository as it stands → tags that lead from a run or a model back to what made it."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from components.tracking.runs import Origin
from pipelines import artifacts

FLOW_RUN_VARIABLES = ("FOVEA_FLOW_RUN_ID", "PREFECT__FLOW_RUN_ID")
# DVC writes dvc.lock while the stages run, so it would make every tree dirty; its content is in
# the tags below as hashes.
NOT_A_CHANGE = {"dvc.lock"}
SHOWN_PATHS = 10
LONGEST_NAME = 200
GIT_TIMEOUT_S = 20
NO_REPOSITORY = "none (not a git repository)"


def origin(root: Path = Path()) -> Origin:
    """Return where a run that starts now comes from."""
    tags = lineage(root)
    digest = data_hash(root) or tags.get("data_id", "untracked")
    return Origin(tags, who(root), str(artifacts.RAW), digest)


def lineage(root: Path = Path()) -> dict[str, str]:
    """Return the tags that every run and every model version carries.

    root: the repository's root. What cannot be told is left out, or says why; a missing or broken
    git, DVC or file never raises, for lineage must not stop a training.
    """
    lock = _tree(root / "dvc.lock")
    statistics = _tree(root / artifacts.STATISTICS)
    params = _tree(root / "params.yaml")
    tags = {
        **_git_tags(root),
        "dvc.data_raw": data_hash(root),
        "dvc.splits": _locked(lock, "split", "outs"),
        "dvc.prepared": _locked(lock, "prepare", "outs"),
        "dvc.hyperparameters": _locked(lock, "search", "outs", "hyperparameters.yaml"),
        "data_id": statistics.get("data_id"),
        "split_id": statistics.get("split_id"),
        "params": _sha256(_canonical(params)) if params else None,
        "seed": params.get("seed"),
        "environment": _file_sha256(root / "requirements.lock"),
        "prefect.flow_run_id": next(filter(None, map(os.environ.get, FLOW_RUN_VARIABLES)), None),
    }
    return {key: str(value) for key, value in tags.items() if value is not None}


def data_hash(root: Path = Path()) -> str | None:
    """Return DVC's hash of data/raw, such as `<32 hex digits>.dir`, or None where it is untracked.

    The hash that `ingest` read (dvc.lock) comes before the one that was added (data/raw.dvc).
    """
    ingested = _locked(_tree(root / "dvc.lock"), "ingest", "deps", "data/raw")
    added = _hashes(_tree(root / "data/raw.dvc").get("outs"))
    return ingested or next(iter(added.values()), None)


def who(root: Path = Path()) -> str:
    """Return who is at work: git's user.name, else the login, else `unknown`."""
    done = _git(root, "config", "user.name")
    if done is not None and done.stdout.strip():
        return done.stdout.strip()[:LONGEST_NAME]
    return os.environ.get("USER") or os.environ.get("LOGNAME") or "unknown"


def _git_tags(root: Path) -> dict[str, str]:
    head = _git(root, "rev-parse", "--verify", "HEAD")
    if head is None:
        return {"git.commit": "none (git is not installed)"}
    status = _git(root, "status", "--porcelain", "-z")
    if status is None or status.returncode:
        return {"git.commit": NO_REPOSITORY}
    commit = "none (no commit yet)" if head.returncode else head.stdout.strip()
    return {"git.commit": commit, "git.dirty": _dirty(status.stdout)}


def _dirty(status: str) -> str:
    """`git status --porcelain -z` → `no`, or `yes` with the paths; untracked files count, too."""
    entries = iter(status.split("\0"))
    paths = []
    for entry in entries:
        paths.append(entry[3:])
        if entry[:1] in ("R", "C"):  # a rename is followed by the old name
            next(entries, None)
    changed = sorted(set(paths) - NOT_A_CHANGE - {""})
    more = f" and {len(changed) - SHOWN_PATHS} more" * (len(changed) > SHOWN_PATHS)
    return f"yes: {', '.join(changed[:SHOWN_PATHS])}{more}" if changed else "no"


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    command = ["git", "-C", str(root), *arguments]
    # Reading must not take the index lock from under a commit made meanwhile.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None


def _locked(lock: Mapping[str, Any], stage: str, side: str, ending: str = "") -> str | None:
    """Return the one hash among a stage's deps or outs in dvc.lock, or the sha256 over several."""
    stages = lock.get("stages")
    entry = stages.get(stage) if isinstance(stages, dict) else None
    hashes = _hashes(entry.get(side) if isinstance(entry, dict) else None)
    wanted = {path: value for path, value in hashes.items() if path.endswith(ending)}
    if len(wanted) > 1:
        return _sha256(_canonical(wanted))
    return next(iter(wanted.values()), None)


def _hashes(entries: Any) -> dict[str, str]:
    rows: Iterable[Any] = entries if isinstance(entries, list) else ()
    return {
        str(row.get("path")): str(row["md5"])
        for row in rows
        if isinstance(row, dict) and row.get("md5")
    }


def _tree(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _canonical(tree: Mapping[str, Any]) -> str:
    """Keep what params.yaml says; comments, spacing and the order of keys change nothing."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), default=str)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _file_sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
