"""A folder, file or archive → data/raw, whole or not at all, tracked by DVC.

The new data/raw is built beside the old one and put in its place by `written_whole`. What is there
already is hard-linked over, so that DVC, which knows a file by inode, time and size, need not read
it again. What arrives is copied. A hard link would be quicker, but shares its bytes with the
source: whoever edits the source in place later changes data/raw, too, and with DVC's `cache.type
hardlink` even the cache, whose objects must never change. Where a file system can share blocks
between two files that stay apart (Btrfs, XFS), the kernel does that instead of copying.
"""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from components.archives.unpacking import LIMITS, announced_bytes, is_archive, unpack
from components.errors import UserError
from components.files import sha256, written_whole
from components.parallel import in_threads
from components.progress import track
from components.sources.listing import is_junk
from components.sources.tree import scan
from pipelines.artifacts import RAW
from pipelines.commands import arrivals
from pipelines.workspace import dvc_files, locks
from pipelines.workspace.raw_data import check_root, track_with_dvc

log = logging.getLogger(__name__)

INCOMING = ".incoming"  # hidden, and gone before the new data/raw takes its place
RESERVE = 2**27  # bytes of the disk that are left free for everything else


@dataclass(frozen=True)
class Arrival:
    """What came: path below data/raw → the file, and its sha256 where an archive was unpacked."""

    files: Mapping[str, Path]
    sums: Mapping[str, str]
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Names below data/raw: files to bring in, of those which replace others, and known ones."""

    new: tuple[str, ...]
    replaced: frozenset[str]
    known: tuple[str, ...]


def add(path: Path, into: str = "", replace_others: bool = False) -> None:
    """Bring a folder's content, a file or an archive's content into data/raw, then `dvc add` it.

    into: folder below data/raw. A kill leaves the old data/raw or the new one, the next add tidies
    up, and adding the same again is always safe. Raises UserError where there is a link or
    anything else that is no plain file, a name that is taken by other content (unless
    replace_others), no room, or DVC refuses; data/raw is then as it was, but for the last.
    """
    check_root()
    folder = arrivals.folder_below(into)
    source = _source(path)
    with locks.hold(Path(), f"fovea data add {path}") as lock:
        with _in_one_sentence(path), written_whole(RAW) as staged:
            existing = _existing()
            staged.mkdir()
            arrival = _arrival(source, path.name, folder, staged / INCOMING)
            plan = _plan(arrival, existing, replace_others)
            _link_over(existing, plan, staged)
            _bring(arrival, plan, staged)
            if (staged / INCOMING).exists():
                shutil.rmtree(staged / INCOMING)
            os.sync()  # all at once, so that nothing is left for `written_whole` to wait for
        track_with_dvc(RAW, keep_open=[lock])
    log.info(arrivals.told(plan.new, len(plan.replaced), len(plan.known), arrival.skipped))
    for line in arrivals.twins(plan.new, existing):
        log.warning(line)
    log.info(f"next: git add {RAW}.dvc && dvc repro")


def _source(path: Path) -> Path:
    """Return what is to be added, a link to it resolved. Raises UserError where that cannot be."""
    source, raw = path.resolve(), RAW.resolve()
    if not source.is_dir() and not source.is_file():
        raise UserError(f"there is no such folder, file or archive. Received: {path}")
    if source == raw or raw in source.parents or source in raw.parents:
        raise UserError(
            f"{RAW} cannot be added to itself; `dvc add {RAW}` tracks what you changed in it. "
            f"Received: {path}"
        )
    return source


def _existing() -> tuple[str, ...]:
    """Return the files in data/raw. Raises UserError where it is none that can be added to."""
    if RAW.is_symlink() or os.path.ismount(RAW):
        raise UserError(
            f"{RAW} must be a plain folder, for it is replaced as a whole; keep DVC's cache on the "
            f"larger disk instead (dvc cache dir). Received: {RAW} is a link or a mount"
        )
    existing = _plain_files(RAW) if RAW.is_dir() else ()
    tracked = Path(f"{RAW}.dvc")
    if not existing and tracked.exists():
        raise UserError(
            f"the images that {tracked} names are not here; `dvc checkout` or `dvc pull` brings "
            f"them, and then more can be added. Received: {RAW} is empty"
        )
    return existing


def _plain_files(folder: Path) -> tuple[str, ...]:
    """Return every file below a folder, sorted. Raises UserError where there is anything else."""
    tree = scan(folder)
    for name in sorted([*tree.files, *tree.closed]):
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise UserError(
                f"{folder} holds a link, a pipe, a device or a folder that is closed to us; only "
                f"plain files are taken, so put one in its place. Received: {path}"
            )
    return tree.files


def _arrival(source: Path, name: str, folder: PurePosixPath, incoming: Path) -> Arrival:
    sums: Mapping[str, str] = {}
    if source.is_dir():
        names = _plain_files(source)
        skipped = tuple(filter(is_junk, names))
        files = {each: source / each for each in names if not is_junk(each)}
    elif is_archive(source):
        incoming.mkdir()
        room = _room(announced_bytes(source), incoming)
        limits = replace(LIMITS, total_bytes=min(LIMITS.total_bytes, room))
        unpacked = unpack(source, incoming, limits)
        sums, skipped = unpacked.sums, unpacked.skipped
        files = {each: incoming / each for each in sums}
    else:
        files, skipped = {name: source}, ()
    if not files:
        raise UserError(f"there is no file to add. Received: {source}")
    targets = arrivals.targets(tuple(files), folder, RAW)
    return Arrival(
        {targets[each]: file for each, file in files.items()},
        {targets[each]: digest for each, digest in sums.items()},
        skipped,
    )


def _plan(arrival: Arrival, existing: tuple[str, ...], replace_others: bool) -> Plan:
    arrivals.check_names(arrival.files, existing)
    taken = sorted(set(existing) & set(arrival.files))
    compared = zip(taken, in_threads(partial(_is_known, arrival), taken), strict=True)
    equal = dict(track(compared, f"files compared with {RAW}", len(taken))) if taken else {}
    others = [name for name in taken if not equal[name]]
    if others and not replace_others:
        raise UserError(
            f"{len(others)} of the files are in {RAW} with other content, and nothing is "
            f"overwritten; rename them, or give --replace. Received: {others[0]}"
        )
    known = tuple(name for name in taken if equal[name])
    new = tuple(sorted(set(arrival.files) - set(known)))
    return Plan(new, frozenset(others), known)


def _is_known(arrival: Arrival, name: str) -> bool:
    there, here = RAW / name, arrival.files[name]
    if there.stat().st_size != here.stat().st_size:
        return False
    return sha256(there) == (arrival.sums.get(name) or sha256(here))


def _link_over(existing: tuple[str, ...], plan: Plan, staged: Path) -> None:
    """Take along what is in data/raw, and its folders with their rights, empty ones, too."""
    for name in scan(RAW).folders if RAW.is_dir() else ():
        (staged / name).mkdir(parents=True, exist_ok=True)
        shutil.copymode(RAW / name, staged / name)
    for name in existing:
        if name not in plan.replaced:
            try:
                os.link(RAW / name, staged / name)
            except OSError:  # a file system without links, or somebody else's file
                shutil.copy2(RAW / name, staged / name)


def _bring(arrival: Arrival, plan: Plan, staged: Path) -> None:
    if not arrival.sums:
        _room(sum(arrival.files[name].stat().st_size for name in plan.new), staged)
    for folder in {(staged / name).parent for name in plan.new}:
        folder.mkdir(parents=True, exist_ok=True)
    brought = in_threads(partial(_bring_one, arrival, staged), plan.new)
    for _ in track(brought, f"files brought into {RAW}", len(plan.new)) if plan.new else ():
        pass


def _bring_one(arrival: Arrival, staged: Path, name: str) -> None:
    """Move what was unpacked, copy everything else, and read it again to be sure of it."""
    source, target = arrival.files[name], staged / name
    expected = arrival.sums.get(name)
    if expected:
        source.rename(target)
    else:
        expected = sha256(source)
        _copy(source, target)
    if sha256(target) != expected:
        raise UserError(
            f"what was copied is not what was read: the file was changed meanwhile, or the disk "
            f"fails; nothing was added. Received: {source}"
        )


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("xb") as written:
        with suppress(AttributeError, OSError):  # not on this system, or between these disks
            while os.copy_file_range(read.fileno(), written.fileno(), 2**30):
                pass
        shutil.copyfileobj(read, written)  # what the kernel left, from where it stopped


def _room(need: int, folder: Path) -> int:
    """Return how many bytes may be added. Raises UserError where `need` are more than that."""
    cache = next(each for each in _upwards(dvc_files.cache_folder()) if each.exists())
    copies = 2 if cache.stat().st_dev == folder.stat().st_dev else 1
    free = shutil.disk_usage(folder).free
    room = max(0, free - RESERVE) // copies
    if need > room:
        raise UserError(
            f"there is too little room on the disk of {RAW.parent}: {copies * need:,} bytes are "
            f"needed (DVC's cache counts where it is there, too). Received: {free:,} free"
        )
    return room


def _upwards(path: Path) -> Iterator[Path]:
    yield path.absolute()
    yield from path.absolute().parents


@contextmanager
def _in_one_sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename2 or error.filename or path
        raise UserError(
            f"{path} was not added: {error.strerror or error}. Received: {where}"
        ) from None
