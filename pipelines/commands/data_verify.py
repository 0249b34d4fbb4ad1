"""DVC's cache and the workspace, read to the last byte → what is damaged; on request, healed.

DVC believes that a read-only object of its cache is whole, and that a file whose inode, time and
size are as it saw them has the content that it saw. A disk, a copy or a stray program can break
both without a trace. Here every byte is hashed, and what is not as recorded is one of these:

damaged object: its content is not that of its name, which is its md5. No edit, so always damage.
damaged file: its content is not as recorded, and DVC, going by inode, time and size, sees no
    change. Nobody edits a file and leaves all three. Only this is overwritten, and only on request.
changed file: DVC sees the change, too, or has never seen the file. It may be meant, so it is named
    and left alone.
"""

import json
import logging
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from components.errors import UserError, one_line
from components.parallel import in_threads
from components.progress import track
from pipelines import artifacts
from pipelines.commands.console import show_lines
from pipelines.workspace import dvc_files, healing, locks
from pipelines.workspace.processes import DVC, stage_environment
from pipelines.workspace.raw_data import check_root

log = logging.getLogger(__name__)

T = TypeVar("T")
SHOWN = 100  # paths of one kind
LOCK = Path("dvc.lock")


@dataclass(frozen=True)
class Tracked:
    """What DVC recorded: path → md5 for files, name → paths for objects and bad listings."""

    files: Mapping[str, str]
    objects: Mapping[str, tuple[str, ...]]
    outs: Mapping[str, str]  # data/raw and what stages wrote → name of the object


@dataclass(frozen=True)
class Findings:
    """What is not as DVC recorded it; objects are name → the paths they stand for."""

    damaged_objects: Mapping[str, tuple[str, ...]]
    missing_objects: Mapping[str, tuple[str, ...]]  # of data/raw
    damaged_files: Mapping[str, str]  # path → md5 as recorded
    changed_files: tuple[str, ...]
    missing_files: tuple[str, ...]  # of data/raw

    @property
    def passed(self) -> bool:
        """Whether the cache and data/raw are as recorded; a stage's result may be out of date."""
        raw = [path for path in self.changed_files if _is_raw(path)]
        return not (
            raw
            or self.damaged_objects
            or self.missing_objects
            or self.damaged_files
            or self.missing_files
        )


def verify(heal: bool) -> bool:
    """Hash what data/raw.dvc and dvc.lock name, and print what is not as recorded.

    heal: repair what is certainly damage: an object of the cache from an intact file of the
    workspace, else from the remote; a file of the workspace from an intact object.
    Returns whether everything is as recorded in the end. Raises UserError where data/raw is not
    tracked by DVC, or the disk takes no more while healing.
    """
    check_root()
    with locks.hold(Path(), "fovea data verify"):
        healing.tidy()
        tracked = _tracked()
        with _in_one_sentence():
            if heal and _heal_listings(tracked):
                tracked = _tracked()
        findings = _findings(tracked)
        _show(findings)
        if heal:
            with _in_one_sentence():
                findings = _healed(tracked, findings)
    _show_advice(findings, heal)
    return findings.passed


def _tracked() -> Tracked:
    added = dvc_files.folder_md5(artifacts.RAW)
    if added is None:
        raise UserError(
            f"DVC does not track {artifacts.RAW}, so there is nothing to compare with; `fovea data "
            f"add` or `dvc add {artifacts.RAW}` begins. Received: no {artifacts.RAW}.dvc"
        )
    text = LOCK.read_text(encoding="utf-8") if LOCK.is_file() else ""
    outs = {str(artifacts.RAW): added, **dvc_files.locked_outs(text)}
    files: dict[str, str] = {}
    objects: dict[str, list[str]] = {}
    for path, name in outs.items():
        below = _files_of(path, name)
        files |= below
        for each, md5 in {**below, path: name}.items():
            objects.setdefault(md5, []).append(each)
    return Tracked(files, {name: tuple(paths) for name, paths in objects.items()}, outs)


def _files_of(path: str, name: str) -> dict[str, str]:
    """Return the files of an output, path → md5; none where its listing cannot be read."""
    if not name.endswith(dvc_files.FOLDER):
        return {path: name}
    try:
        return {f"{path}/{file}": md5 for file, md5 in dvc_files.listing(name).items()}
    except UserError:
        return {}


def _findings(tracked: Tracked) -> Findings:
    objects, files = list(tracked.objects), list(tracked.files)
    cached = _hashed(map(dvc_files.object_path, objects), "objects of the cache", len(objects))
    here = _hashed(map(Path, files), "files of the workspace", len(files))
    raw = {name for name, paths in tracked.objects.items() if any(map(_is_raw, paths))}
    found = dict(zip(objects, cached, strict=True))
    lost = {name: tracked.objects[name] for name, md5 in found.items() if md5 is None}
    bad = {
        name: tracked.objects[name]
        for name, md5 in found.items()
        if md5 not in (None, name.removesuffix(dvc_files.FOLDER))
    }
    state = dict(zip(files, here, strict=True))
    other = [path for path, md5 in state.items() if md5 not in (None, tracked.files[path])]
    changed = _changed_for_dvc(other) if other else frozenset()
    return Findings(
        damaged_objects=bad,
        missing_objects={name: paths for name, paths in lost.items() if name in raw},
        damaged_files={path: tracked.files[path] for path in other if path not in changed},
        changed_files=tuple(path for path in other if path in changed),
        missing_files=tuple(path for path in files if state[path] is None and _is_raw(path)),
    )


def _hashed(paths: Iterable[Path], what: str, count: int) -> list[str | None]:
    return list(track(in_threads(healing.md5, paths), f"{what} read", count))


def _changed_for_dvc(paths: Collection[str]) -> frozenset[str]:
    """Return which files differ from what DVC knows also by inode, time or size; in doubt, all."""
    command = [*DVC, "--wait-for-lock", "data", "status", "--granular", "--json"]
    done = subprocess.run(
        command, env=stage_environment({}), capture_output=True, text=True, errors="replace"
    )
    if done.returncode != 0:
        reason = one_line(done.stderr, longest=None).removeprefix("ERROR: ")
        log.info(f"`dvc data status` fails, so no change is certain to be damage: {reason}")
        return frozenset(paths)
    seen = json.loads(done.stdout).get("uncommitted", {})
    renamed = [name for pair in seen.pop("renamed", ()) for name in pair.values()]
    return frozenset([*renamed, *(name for names in seen.values() for name in names)])


def _heal_listings(tracked: Tracked) -> bool:
    """Mend listings, without which nobody knows what a folder held; say whether one was mended."""
    mended = False
    for path, name in tracked.outs.items():
        is_listing = name.endswith(dvc_files.FOLDER)
        wanted = path == str(artifacts.RAW) or dvc_files.object_path(name).exists()
        if is_listing and wanted and not healing.is_intact(name):
            from_here = healing.keep_listing(name, Path(path))
            if from_here or healing.fetch([name], _targets(tracked, [name])):
                mended = True
                _say_healed([path], "the workspace" if from_here else "the remote")
    return mended


def _healed(tracked: Tracked, findings: Findings) -> Findings:
    """Repair what can be repaired; return what is left."""
    bad = {**findings.damaged_objects, **findings.missing_objects}
    from_here = {name for name, paths in bad.items() if _healed_from(paths, name)}
    _say_healed([path for name in from_here for path in bad[name]], "the workspace")
    rest = sorted(set(bad) - from_here)
    fetched = healing.fetch(rest, _targets(tracked, rest)) if rest else set()
    _say_healed([path for name in fetched for path in bad[name]], "the remote")
    files = findings.damaged_files
    back = {path for path, md5 in files.items() if healing.bring_back(Path(path), md5)}
    for path in sorted(back):
        log.info(f"brought back from the cache: {path}")
    healed = from_here | fetched
    return replace(
        findings,
        damaged_objects=_without(findings.damaged_objects, healed),
        missing_objects=_without(findings.missing_objects, healed),
        damaged_files=_without(files, back),
    )


@contextmanager
def _in_one_sentence() -> Iterator[None]:
    """Say a full disk and the like; what cannot be read is no error but stays named."""
    try:
        yield
    except OSError as error:
        raise UserError(
            "healing has stopped, and what is healed stays so; mend what hinders and run it again. "
            f"Received: {error.strerror or error}, {error.filename2 or error.filename or ''}"
        ) from None


def _healed_from(paths: Iterable[str], name: str) -> bool:
    return any(healing.keep_object(name, Path(path)) for path in paths)


def _targets(tracked: Tracked, names: Iterable[str]) -> list[str]:
    """Return the .dvc file and the outputs that hold these objects, as DVC wants to be asked."""
    wanted = [path for name in names for path in tracked.objects[name]]
    return [
        f"{out}.dvc" if out == str(artifacts.RAW) else out
        for out in tracked.outs
        if any(path == out or path.startswith(f"{out}/") for path in wanted)
    ]


def _without(found: Mapping[str, T], healed: Collection[str]) -> dict[str, T]:
    return {key: value for key, value in found.items() if key not in healed}


def _is_raw(path: str) -> bool:
    return Path(path).is_relative_to(artifacts.RAW)


def _say_healed(paths: Iterable[str], source: str) -> None:
    for path in sorted(paths):
        log.info(f"healed in the cache, from {source}: {path}")


def _show(findings: Findings) -> None:
    _show_paths("damaged in DVC's cache", findings.damaged_objects)
    _show_paths("not in DVC's cache", findings.missing_objects)
    kinds = {
        "damaged in the workspace (DVC sees no change)": findings.damaged_files,
        "changed since DVC recorded it": findings.changed_files,
        "missing in the workspace, or closed to us": findings.missing_files,
    }
    for kind, paths in kinds.items():
        _show_paths(kind, {path: (path,) for path in paths})


def _show_paths(kind: str, found: Mapping[str, tuple[str, ...]]) -> None:
    for paths in list(found.values())[:SHOWN]:
        show_lines(f"{kind}: {', '.join(paths)}", style="red")
    if len(found) > SHOWN:
        show_lines(f"{kind}: {len(found) - SHOWN:,} more", style="red")


def _show_advice(findings: Findings, heal: bool) -> None:
    if findings.passed and not findings.changed_files:
        show_lines("every byte is as DVC recorded it", style="green")
    certain = findings.damaged_objects or findings.missing_objects or findings.damaged_files
    if certain and not heal:
        show_lines("next: fovea data verify --heal, which mends them from intact copies")
    if certain and heal:
        show_lines(
            "no intact copy is here or in the remote of what is still named: "
            f"{', '.join(sorted(_paths_left(findings)))}; "
            "bring it from where it came: fovea data add PATH --replace",
            style="red",
        )
    if findings.changed_files or findings.missing_files:
        raw = f"{artifacts.RAW}"
        show_lines(f"what was meant: dvc add {raw}; what was not: dvc checkout --force {raw}.dvc")


def _paths_left(findings: Findings) -> set[str]:
    objects = {**findings.damaged_objects, **findings.missing_objects}
    return {path for paths in objects.values() for path in paths} | set(findings.damaged_files)
