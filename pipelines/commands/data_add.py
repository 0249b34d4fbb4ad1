"""A folder, file or archive → data/raw, whole or not at all, tracked by DVC.

The new data/raw is built beside the old one and then takes its place (`write_whole`).

Files that are in data/raw already are hard-linked into the new one. DVC knows a file by inode, time
and size, so it need not read these again.

Files that are added are copied. A hard link would be quicker, but it shares its bytes with the
source: an edit of the source in place would change data/raw, too, and with DVC's `cache.type
hardlink` also the cache, whose objects must never change. On a file system where two separate
files can share blocks (Btrfs, XFS), the kernel does that instead of copying.
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
from components.files import sha256, write_whole
from components.parallel import in_threads
from components.progress import track
from components.sources.listing import is_junk
from components.sources.tree import scan
from pipelines.artifacts import RAW
from pipelines.commands import arrivals
from pipelines.workspace import dvc_files, locks
from pipelines.workspace.raw_data import check_root, track_with_dvc

log = logging.getLogger(__name__)

INCOMING = ".incoming"  # for unpacked files; gone before the new data/raw takes its place
RESERVE = 2**27  # bytes of the disk to leave free


@dataclass(frozen=True)
class Arrival:
    """What is to be added: path below data/raw → the file; its sha256 if it was in an archive."""

    files: Mapping[str, Path]
    sums: Mapping[str, str]
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Names below data/raw."""

    new: tuple[str, ...]  # files to add, those which replace others included
    replaced: frozenset[str]
    known: tuple[str, ...]  # in data/raw already, with the same content


def add_images(path: Path, into: str = "", replace_others: bool = False) -> None:
    """Copy a folder's content, a file or an archive's content into data/raw, then `dvc add` it.

    into: folder below data/raw.
    If it is killed, data/raw is the old one or the new one, and the next call removes what is
    left over. Adding the same files again is always safe.
    Raises UserError where there is a link or anything else that is no plain file, where a name
    has other content already (unless replace_others), where the disk is too small, or where DVC
    refuses. Only in the last case has data/raw changed.
    """
    check_root()
    folder = arrivals.folder_below(into)
    source = _source(path)
    with locks.hold(Path(), f"fovea data add {path}") as lock:
        with _as_user_error(path), write_whole(RAW) as staged:
            existing = _existing()
            staged.mkdir()
            arrival = _arrival(source, path.name, folder, staged / INCOMING)
            plan = _plan(arrival, existing, replace_others)
            _link_existing(existing, plan, staged)
            _copy_new(arrival, plan, staged)
            if (staged / INCOMING).exists():
                shutil.rmtree(staged / INCOMING)
            os.sync()  # all files at once is quicker than `write_whole` file by file
        track_with_dvc(RAW, keep_open=[lock])
    log.info(arrivals.summary(plan.new, len(plan.replaced), len(plan.known), arrival.skipped))
    for line in arrivals.alike_names(plan.new, existing):
        log.warning(line)
    log.info(f"next: git add {RAW}.dvc && dvc repro")


def _source(path: Path) -> Path:
    """Return the resolved path of what is to be added. Raises UserError where that is refused."""
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
    """Return the files in data/raw. Raises UserError where nothing can be added to it."""
    if RAW.is_symlink() or os.path.ismount(RAW):
        raise UserError(
            f"{RAW} must be a plain folder, since it is replaced as a whole; move DVC's cache to "
            f"the larger disk instead (`dvc cache dir`). Received: {RAW} is a link or a mount"
        )
    existing = _plain_files(RAW) if RAW.is_dir() else ()
    tracked = Path(f"{RAW}.dvc")
    if not existing and tracked.exists():
        raise UserError(
            f"the images that {tracked} names are missing; run `dvc checkout` or `dvc pull` first, "
            f"then add more. Received: {RAW} is empty"
        )
    return existing


def _plain_files(folder: Path) -> tuple[str, ...]:
    """Return every file below a folder, sorted. Raises UserError where there is anything else."""
    tree = scan(folder)
    for name in sorted([*tree.files, *tree.closed]):
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise UserError(
                f"{folder} contains a link, a pipe, a device or a folder that cannot be read; only "
                f"plain files can be added, so replace it by one. Received: {path}"
            )
    return tree.files


def _arrival(source: Path, file_name: str, folder: PurePosixPath, incoming: Path) -> Arrival:
    sums: Mapping[str, str] = {}
    if source.is_dir():
        names = _plain_files(source)
        skipped = tuple(filter(is_junk, names))
        files = {name: source / name for name in names if not is_junk(name)}
    elif is_archive(source):
        incoming.mkdir()
        space = _check_space(announced_bytes(source), incoming)
        limits = replace(LIMITS, total_bytes=min(LIMITS.total_bytes, space))
        unpacked = unpack(source, incoming, limits)
        sums, skipped = unpacked.sums, unpacked.skipped
        files = {name: incoming / name for name in sums}
    else:
        files, skipped = {file_name: source}, ()
    if not files:
        raise UserError(f"there is no file to add. Received: {source}")
    targets = arrivals.targets(tuple(files), folder, RAW)
    return Arrival(
        {targets[name]: file for name, file in files.items()},
        {targets[name]: digest for name, digest in sums.items()},
        skipped,
    )


def _plan(arrival: Arrival, existing: tuple[str, ...], replace_others: bool) -> Plan:
    arrivals.check_names(arrival.files, existing)
    both = sorted(set(existing) & set(arrival.files))
    compared = zip(both, in_threads(partial(_is_known, arrival), both), strict=True)
    equal = dict(track(compared, f"files compared with {RAW}", len(both))) if both else {}
    others = [name for name in both if not equal[name]]
    if others and not replace_others:
        raise UserError(
            f"{len(others)} of the files are in {RAW} already, with other content; rename them, or "
            f"overwrite the old ones with --replace. Received: {others[0]}"
        )
    known = tuple(name for name in both if equal[name])
    new = tuple(sorted(set(arrival.files) - set(known)))
    return Plan(new, frozenset(others), known)


def _is_known(arrival: Arrival, name: str) -> bool:
    old, new = RAW / name, arrival.files[name]
    if old.stat().st_size != new.stat().st_size:
        return False
    return sha256(old) == (arrival.sums.get(name) or sha256(new))


def _link_existing(existing: tuple[str, ...], plan: Plan, staged: Path) -> None:
    """Link what is in data/raw, and make its folders, empty ones too, with the same rights."""
    for name in scan(RAW).folders if RAW.is_dir() else ():
        (staged / name).mkdir(parents=True, exist_ok=True)
        shutil.copymode(RAW / name, staged / name)
    for name in existing:
        if name not in plan.replaced:
            try:
                os.link(RAW / name, staged / name)
            except OSError:  # a file system without links, or a file of another user
                shutil.copy2(RAW / name, staged / name)


def _copy_new(arrival: Arrival, plan: Plan, staged: Path) -> None:
    if not arrival.sums:
        _check_space(sum(arrival.files[name].stat().st_size for name in plan.new), staged)
    for folder in {(staged / name).parent for name in plan.new}:
        folder.mkdir(parents=True, exist_ok=True)
    copies = in_threads(partial(_copy_checked, arrival, staged), plan.new)
    for _ in track(copies, f"files copied to {RAW}", len(plan.new)) if plan.new else ():
        pass


def _copy_checked(arrival: Arrival, staged: Path, name: str) -> None:
    """Move an unpacked file, copy any other, and compare the result with what was read."""
    source, target = arrival.files[name], staged / name
    expected = arrival.sums.get(name)
    if expected:
        source.rename(target)
    else:
        expected = sha256(source)
        _copy(source, target)
    if sha256(target) != expected:
        raise UserError(
            f"the copy differs from what was read: the file was changed in the meantime, or the "
            f"disk is faulty; nothing was added. Received: {source}"
        )


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("xb") as written:
        with suppress(
            AttributeError, OSError
        ):  # missing on this system, or not possible between these disks
            while os.copy_file_range(read.fileno(), written.fileno(), 2**30):
                pass
        shutil.copyfileobj(read, written)  # the rest, from where the kernel stopped


def _check_space(need: int, folder: Path) -> int:
    """Return how many bytes may be added. Raises UserError where `need` bytes are too many.

    `dvc add` copies them into DVC's cache, so they count twice if the cache is on the same disk.
    """
    cache = next(path for path in _upwards(dvc_files.cache_folder()) if path.exists())
    copies = 2 if cache.stat().st_dev == folder.stat().st_dev else 1
    free = shutil.disk_usage(folder).free
    space = max(0, free - RESERVE) // copies
    if need > space:
        raise UserError(
            f"the disk of {RAW.parent} has too little space: {copies * need:,} bytes are needed, "
            f"twice the files' size if DVC's cache is there, too. Received: {free:,} free"
        )
    return space


def _upwards(path: Path) -> Iterator[Path]:
    yield path.absolute()
    yield from path.absolute().parents


@contextmanager
def _as_user_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename2 or error.filename or path
        raise UserError(
            f"{path} was not added: {error.strerror or error}. Received: {where}"
        ) from None
