"""A dvc.lock → the stages that lead to a file; two dvc.locks → what differs in a stage.

dvc.lock has the md5 of each file and folder that a stage read (deps) and wrote (outs).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from pipelines.workspace import dvc_files


@dataclass(frozen=True)
class Out:
    """A result of a stage: its path, the md5 on record, and the md5 now; None if there is none."""

    path: str
    recorded: str | None
    now: str | None

    @property
    def same(self) -> bool:
        """Return True if the result has the recorded content."""
        return self.recorded is not None and self.recorded == self.now


@dataclass(frozen=True)
class Comparison:
    """A stage, compared with the record of an earlier run.

    outs: its results. inputs: what it read that is not on record in the same way: files and folders
    that no other stage writes (code, images), `params.yaml` and `command`.
    """

    stage: str
    outs: tuple[Out, ...]
    inputs: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Return True if all results are the recorded results."""
        return all(out.same for out in self.outs)


def stages_to(lock: str, md5: str, left_out: Collection[str]) -> tuple[str, ...]:
    """Return the stages that lead to a file, each after the stages whose results it reads.

    lock: the text of a dvc.lock. md5: the md5 of the file, an out of the last stage.
    left_out: stages that are not part of the result, and neither are stages that only they need.

    >>> lock = '''stages:
    ...   train: {deps: [{path: b, md5: 2}], outs: [{path: model, md5: "3"}]}
    ...   ingest: {deps: [{path: raw, md5: 1}], outs: [{path: a, md5: 1}]}
    ...   prepare: {deps: [{path: a, md5: 1}], outs: [{path: b, md5: 2}]}'''
    >>> stages_to(lock, "3", left_out=())
    ('ingest', 'prepare', 'train')
    """
    outs = {stage: dvc_files.stage_files(lock, stage, "outs") for stage in _stages(lock)}
    last = next(stage for stage, files in outs.items() if md5 in files.values())
    order: dict[str, None] = {}

    def visit(stage: str) -> None:
        for earlier in outs:
            if earlier not in {*left_out, *order, stage} and reads(lock, stage, outs[earlier]):
                visit(earlier)
        order[stage] = None

    visit(last)
    return tuple(order)


def reads(lock: str, stage: str, paths: Collection[str]) -> list[str]:
    """Return the paths that a stage reads: as a dep, below a dep, or around a dep."""
    deps = dvc_files.stage_files(lock, stage, "deps")
    return [path for path in paths if any(overlap(path, dep) for dep in deps)]


def overlap(path: str, other: str) -> bool:
    """Return whether two paths are equal, or one is below the other.

    >>> overlap("data/raw", "data/raw/cat"), overlap("data/raw", "data/rawer")
    (True, False)
    """
    return path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/")


def compare(stage: str, recorded: str, now: str) -> Comparison:
    """Compare a stage in two texts of dvc.lock."""
    before, after = (dvc_files.stage_files(text, stage, "outs") for text in (recorded, now))
    outs = tuple(Out(path, before.get(path), after.get(path)) for path in {**before, **after})
    return Comparison(stage, outs, tuple(_other_inputs(stage, recorded, now)))


def size_of(lock: str, stages: Collection[str]) -> int:
    """Return the size of all files that the stages read and wrote, in bytes, as dvc.lock has it."""
    known = _stages(lock)
    rows = (
        row for name in stages for kind in ("deps", "outs") for row in known[name].get(kind, ())
    )
    return sum({row["path"]: row["size"] for row in rows if "size" in row}.values())


def _other_inputs(stage: str, recorded: str, now: str) -> Iterator[str]:
    written = dvc_files.outs_in_lock(recorded)
    before, after = (dvc_files.stage_files(text, stage, "deps") for text in (recorded, now))
    for path in {**before, **after}:
        if before.get(path) != after.get(path) and path not in written:
            yield path
    old, new = (_stages(text).get(stage) or {} for text in (recorded, now))
    if old.get("params") != new.get("params"):
        yield "params.yaml"
    if old.get("cmd") != new.get("cmd"):
        yield "command"


def _stages(lock: str) -> dict[str, Any]:
    stages = dvc_files.parse(lock).get("stages")
    return stages if isinstance(stages, dict) else {}
