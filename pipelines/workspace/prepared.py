"""params.yaml, dvc.lock, data/raw.dvc → one sentence if the prepared data are out of date.

For commands that read the results of the stages up to `balance`. DVC is not started. What it would
also notice, changed code or edited files, is left to `dvc repro`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.params import yaml_text
from components.params.sentences import in_yaml
from pipelines.workspace import dvc_files
from pipelines.workspace.dvc_plan import DVC_LOCK

PARAMS, RAW = Path("params.yaml"), Path("data/raw")
STAGES = ("ingest", "validate", "split", "prepare", "balance")


def check_prepared() -> None:
    """Raise UserError if a stage up to `balance` ran with other params or images than now.

    A stage that dvc.lock does not have is not checked: it may have run without DVC.
    """
    difference = next(_differences(), None)
    if difference:
        raise UserError(
            "the prepared images or the balance plan are out of date; run `dvc repro balance` "
            f"first. Received: {difference}"
        )


def _differences() -> Iterator[str]:
    text = dvc_files.read_text(DVC_LOCK)
    if not text:
        return
    written = yaml_text.parse(dvc_files.read_text(PARAMS), PARAMS)
    stages = (yaml_text.parse(text, DVC_LOCK) or {}).get("stages") or {}
    md5s = dvc_files.outs_in_lock(text)
    raw = dvc_files.added_outs(dvc_files.read_text(RAW.with_name("raw.dvc")))
    md5s |= {RAW.as_posix(): md5 for md5 in raw.values()}
    for stage in STAGES:
        params = (stages.get(stage) or {}).get("params") or {}
        for key, recorded in params.get(PARAMS.name, {}).items():
            yield from _changes(key, recorded, _value(written, key))
        for path, md5 in dvc_files.stage_files(text, stage, "deps").items():
            if md5s.get(path, md5) != md5:
                yield f"another {path} than {stage} has read"


def _changes(key: str, recorded: Any, now: Any) -> Iterator[str]:
    """Yield the values that differ, with their keys."""
    if isinstance(recorded, Mapping) and isinstance(now, Mapping):
        for name in {**recorded, **now}:
            yield from _changes(f"{key}.{name}", recorded.get(name), now.get(name))
    elif recorded != now:
        yield f"{key}: {in_yaml(now)}, but {in_yaml(recorded)} when the stages ran"


def _value(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree
