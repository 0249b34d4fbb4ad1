"""Files that DVC tracks, and DVC's cache → a list of what is damaged, changed or missing.

The option --heal repairs damage.

An object is a file in DVC's cache whose name is the md5 of its content. A listing is an object that
names the files of a folder; its name ends in `.dir`.

The workspace is the folder of dvc.yaml with the files that DVC tracks there.

DVC trusts an object if its file is read-only. DVC trusts a file of the workspace if its inode, time
and size have not changed since DVC last read the file. A faulty disk or a faulty program can change
bytes without changing inode, time or size. So this module computes the md5 of each file and object.
It reports these differences:

damaged object: the md5 of its content is not its name. No program edits objects, so this is damage.
damaged file: its md5 is not the recorded md5, but DVC sees no change of inode, time or size. An
    edit changes at least one of the three, so this is damage. In the workspace, --heal overwrites
    only damaged files.
changed file: its md5 is not the recorded md5, and DVC sees a change or has never read the file. The
    user may have edited the file, so --heal does not overwrite it.
missing object: an object of data/raw that is not in the cache, or cannot be read.
missing file: a file of data/raw that is not in the workspace, or cannot be read.
refused link: a symbolic link in data/raw that does not lead into DVC's cache. It is never read.
"""

import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from components.errors import UserError
from components.parallel import in_threads
from components.progress import track
from components.sources.dvc_cache import linked_object
from pipelines import artifacts
from pipelines.commands.console import show_lines
from pipelines.workspace import dvc_files, healing, locks
from pipelines.workspace.processes import DVC, capture, dvc_error
from pipelines.workspace.raw_data import check_root

log = logging.getLogger(__name__)

T = TypeVar("T")
SHOWN = 100  # At most this many findings of one kind are printed.
LOCK = Path("dvc.lock")


@dataclass(frozen=True)
class Tracked:
    """What DVC recorded in data/raw.dvc and dvc.lock."""

    files: Mapping[str, str]  # path → md5
    objects: Mapping[str, tuple[str, ...]]  # name of an object → paths that have its content
    outs: Mapping[str, str]  # data/raw or an output of a stage → name of its object


@dataclass(frozen=True)
class Findings:
    """The differences from what DVC recorded.

    The keys of `damaged_objects` and `missing_objects` are names of objects. The values are the
    paths of the files that should have the content of the object. `remote_error` says why the
    remote could not be asked for intact copies; it is empty if the remote was asked, or not needed.
    """

    damaged_objects: Mapping[str, tuple[str, ...]]
    missing_objects: Mapping[str, tuple[str, ...]]  # Only objects of data/raw are listed.
    damaged_files: Mapping[str, str]  # path → recorded md5
    changed_files: tuple[str, ...]
    missing_files: tuple[str, ...]  # Only files of data/raw are listed.
    refused_links: tuple[str, ...]
    remote_error: str = ""

    @property
    def passed(self) -> bool:
        """Return True if nothing is damaged, missing or refused, and data/raw is unchanged.

        Changed outputs of stages do not matter.
        """
        raw = [path for path in self.changed_files if _is_raw(path)]
        return not (
            raw
            or self.damaged_objects
            or self.missing_objects
            or self.damaged_files
            or self.missing_files
            or self.refused_links
        )


def verify_data(heal: bool) -> bool:
    """Compare the files and objects that data/raw.dvc and dvc.lock name with their recorded md5.

    At most SHOWN differences of each kind are printed, and the number of all further differences.
    heal: repair damaged objects, missing objects and damaged files. An object is copied from an
    intact file of the workspace. If there is no such file, the object is fetched from the remote. A
    file is copied from an intact object.
    Returns True if no damage is left, no file or object of data/raw is missing, and no file of
    data/raw has changed. Raises UserError if the current folder is not the root of a repository, if
    DVC does not track data/raw, or if a repaired file cannot be written.
    """
    check_root()
    with locks.hold(Path(), "fovea data verify"):
        healing.undo_unfinished()
        tracked = _read_tracked()
        with _as_user_error():
            if heal and _heal_listings(tracked):
                tracked = _read_tracked()
        findings = _findings(tracked)
        _show(findings)
        if heal:
            with _as_user_error():
                findings = _heal(tracked, findings)
    _show_advice(findings, heal)
    return findings.passed


def _read_tracked() -> Tracked:
    added = dvc_files.listing_name(artifacts.RAW)
    if added is None:
        raise UserError(
            f"DVC does not track {artifacts.RAW}, so there is nothing to compare with; run `fovea "
            f"data add` or `dvc add {artifacts.RAW}` first. Received: no {artifacts.RAW}.dvc"
        )
    text = LOCK.read_text(encoding="utf-8") if LOCK.is_file() else ""
    outs = {str(artifacts.RAW): added, **dvc_files.outs_in_lock(text)}
    files: dict[str, str] = {}
    objects: dict[str, list[str]] = {}
    for path, name in outs.items():
        out_files = _files_of(path, name)
        files |= out_files
        for file, md5 in {**out_files, path: name}.items():
            objects.setdefault(md5, []).append(file)
    return Tracked(files, {name: tuple(paths) for name, paths in objects.items()}, outs)


def _files_of(path: str, name: str) -> dict[str, str]:
    """Return path → md5 of the files of an output.

    path: the path of the output. name: the name of its object. The result is empty if the output is
    a folder and its listing is missing or damaged.
    """
    if not name.endswith(dvc_files.FOLDER):
        return {path: name}
    try:
        return {f"{path}/{file}": md5 for file, md5 in dvc_files.read_listing(name).items()}
    except UserError:
        return {}


def _findings(tracked: Tracked) -> Findings:
    objects, files = list(tracked.objects), list(tracked.files)
    object_md5s = _md5s(map(dvc_files.object_path, objects), "objects of the cache", len(objects))
    file_md5s = _md5s(map(Path, files), "files of the workspace", len(files))
    md5_of_object = dict(zip(objects, object_md5s, strict=True))
    md5_of_file = dict(zip(files, file_md5s, strict=True))
    raw = {name for name, paths in tracked.objects.items() if any(map(_is_raw, paths))}
    differing = [
        path for path, md5 in md5_of_file.items() if md5 not in (None, tracked.files[path])
    ]
    changed = _changed_for_dvc(differing) if differing else frozenset()
    return Findings(
        damaged_objects={
            name: tracked.objects[name]
            for name, md5 in md5_of_object.items()
            if md5 not in (None, name.removesuffix(dvc_files.FOLDER))
        },
        missing_objects={
            name: tracked.objects[name]
            for name, md5 in md5_of_object.items()
            if md5 is None and name in raw
        },
        damaged_files={path: tracked.files[path] for path in differing if path not in changed},
        changed_files=tuple(path for path in differing if path in changed),
        missing_files=tuple(path for path in files if md5_of_file[path] is None and _is_raw(path)),
        refused_links=tuple(path for path in files if _is_raw(path) and _is_refused(Path(path))),
    )


def _is_refused(path: Path) -> bool:
    return path.is_symlink() and linked_object(path) is None


def _md5s(paths: Iterable[Path], what: str, count: int) -> list[str | None]:
    return list(track(in_threads(healing.md5, paths), f"{what} read", count))


def _changed_for_dvc(paths: Collection[str]) -> frozenset[str]:
    """Return the paths of all files that DVC sees as changed or has never read.

    If DVC fails, the result is `paths`. Then none of these files counts as damaged.
    """
    done = capture(*DVC, "--wait-for-lock", "data", "status", "--granular", "--json")
    if done.returncode != 0:
        reason = dvc_error(done.stderr)
        log.warning(f"`dvc data status` fails, so no file is reported as damaged: {reason}")
        return frozenset(paths)
    seen = json.loads(done.stdout).get("uncommitted", {})
    renamed = [name for pair in seen.pop("renamed", ()) for name in pair.values()]
    return frozenset([*renamed, *(name for names in seen.values() for name in names)])


def _heal_listings(tracked: Tracked) -> bool:
    """Repair the damaged listings; return True if a listing was repaired.

    A missing listing is repaired only if it is the listing of data/raw. The listings are repaired
    before the other objects, because the files of a folder are unknown without its listing.
    """
    repaired = False
    for path, name in tracked.outs.items():
        is_listing = name.endswith(dvc_files.FOLDER)
        wanted = path == str(artifacts.RAW) or dvc_files.object_path(name).exists()
        if is_listing and wanted and not healing.is_intact(name):
            rebuilt = healing.rebuild_listing(name, Path(path))
            if rebuilt or _fetch(tracked, [name])[0]:
                repaired = True
                _log_healed([path], "the workspace" if rebuilt else "the remote")
    return repaired


def _heal(tracked: Tracked, findings: Findings) -> Findings:
    """Repair first objects, then files. Return the findings without what was repaired."""
    objects = {**findings.damaged_objects, **findings.missing_objects}
    copied = {name for name, paths in objects.items() if _replace_object(name, paths)}
    _log_healed([path for name in copied for path in objects[name]], "the workspace")
    rest = sorted(set(objects) - copied)
    fetched, remote_error = _fetch(tracked, rest) if rest else (set(), "")
    _log_healed([path for name in fetched for path in objects[name]], "the remote")
    files = findings.damaged_files
    restored = {path for path, md5 in files.items() if healing.restore_file(Path(path), md5)}
    for path in sorted(restored):
        log.info(f"restored from DVC's cache: {path}")
    healed = copied | fetched
    return replace(
        findings,
        damaged_objects=_without(findings.damaged_objects, healed),
        missing_objects=_without(findings.missing_objects, healed),
        damaged_files=_without(files, restored),
        remote_error=remote_error,
    )


def _fetch(tracked: Tracked, names: Collection[str]) -> tuple[set[str], str]:
    """Fetch objects from the remote. Return the names of those that are intact now.

    The second value says why the remote cannot be asked; it is empty if it was asked.
    """
    try:
        return healing.fetch_objects(names, _targets(tracked, names)), ""
    except UserError as error:
        return set(), str(error)


@contextmanager
def _as_user_error() -> Iterator[None]:
    """Raise UserError if the `with` block raises OSError.

    Usually the disk is full. A file that cannot be read raises no OSError, because it is a finding.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            "the repair has stopped, and files that were repaired stay repaired; fix this error, "
            "then run `fovea data verify --heal` again. "
            f"Received: {error.strerror or error}, {error.filename2 or error.filename or ''}"
        ) from None


def _replace_object(name: str, paths: Iterable[str]) -> bool:
    return any(healing.replace_object(name, Path(path)) for path in paths)


def _targets(tracked: Tracked, names: Iterable[str]) -> list[str]:
    """Return the targets with which `dvc fetch` fetches these objects.

    A target is the path of an output of a stage; for data/raw, it is data/raw.dvc.
    """
    wanted = [path for name in names for path in tracked.objects[name]]
    return [
        f"{out}.dvc" if out == str(artifacts.RAW) else out
        for out in tracked.outs
        if any(path == out or path.startswith(f"{out}/") for path in wanted)
    ]


def _without(findings: Mapping[str, T], healed: Collection[str]) -> dict[str, T]:
    return {key: value for key, value in findings.items() if key not in healed}


def _is_raw(path: str) -> bool:
    return Path(path).is_relative_to(artifacts.RAW)


def _log_healed(paths: Iterable[str], source: str) -> None:
    for path in sorted(paths):
        log.info(f"repaired in DVC's cache, from {source}: {path}")


def _show(findings: Findings) -> None:
    _show_paths("damaged in DVC's cache", findings.damaged_objects)
    _show_paths("not in DVC's cache", findings.missing_objects)
    kinds = {
        "damaged in the workspace (DVC sees no change)": findings.damaged_files,
        "changed since DVC recorded it": findings.changed_files,
        "missing in the workspace, or not readable": findings.missing_files,
        "a link that does not lead into DVC's cache": findings.refused_links,
    }
    for kind, paths in kinds.items():
        _show_paths(kind, {path: (path,) for path in paths})


def _show_paths(kind: str, findings: Mapping[str, tuple[str, ...]]) -> None:
    for paths in list(findings.values())[:SHOWN]:
        show_lines(f"{kind}: {', '.join(paths)}", style="red")
    if len(findings) > SHOWN:
        show_lines(f"{kind}: {len(findings) - SHOWN:,} more", style="red")


def _show_advice(findings: Findings, heal: bool) -> None:
    if findings.passed and not findings.changed_files:
        show_lines("every byte is as DVC recorded it", style="green")
    repairable = findings.damaged_objects or findings.missing_objects or findings.damaged_files
    if repairable and not heal:
        show_lines("next: fovea data verify --heal, which repairs damage from intact copies")
    if repairable and findings.remote_error:
        show_lines(
            f"there is no intact copy here of: {', '.join(sorted(_paths_left(findings)))}; "
            "run `fovea data verify --heal` again if the remote can be used",
            f"error: {findings.remote_error}",
            style="red",
        )
    elif repairable and heal:
        show_lines(
            "there is no intact copy, neither here nor in the remote, of: "
            f"{', '.join(sorted(_paths_left(findings)))}; "
            "add these files again from where you have them: fovea data add PATH --replace",
            style="red",
        )
    raw = f"{artifacts.RAW}"
    if findings.refused_links:
        show_lines(f"to replace these links by what DVC recorded: dvc checkout --relink {raw}.dvc")
    if findings.changed_files or findings.missing_files:
        show_lines(
            f"to keep the changes: dvc add {raw}; to undo them: dvc checkout --force {raw}.dvc"
        )


def _paths_left(findings: Findings) -> set[str]:
    objects = {**findings.damaged_objects, **findings.missing_objects}
    return {path for paths in objects.values() for path in paths} | set(findings.damaged_files)
