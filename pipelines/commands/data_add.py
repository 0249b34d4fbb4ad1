"""A folder, file or archive → its files in data/raw, tracked by DVC. All files are added, or none.

The new data/raw is built in another folder. It then replaces the old data/raw (`write_whole`).

The files of the old data/raw are hard-linked into the new data/raw. DVC recognises a file by its
inode, time and size, so DVC does not read the linked files again.

New files are copied. A hard link would be quicker, but the link and the source would be the same
file. So an edit of the source would also change data/raw. With DVC's setting `cache.type hardlink`,
the edit would also change DVC's cache. The files of DVC's cache must never change.

On the file systems Btrfs and XFS a copy is quick: it uses the same disk blocks as the source, until
one of the two files is edited.
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
from components.sources.dvc_cache import cache_folder, linked_object
from components.sources.listing import is_junk
from components.sources.tree import scan
from pipelines.artifacts import RAW
from pipelines.commands import arrivals
from pipelines.workspace import locks
from pipelines.workspace.raw_data import check_root, track_with_dvc

log = logging.getLogger(__name__)

# Archives are unpacked into this folder of the new data/raw. The folder is removed before the new
# data/raw replaces the old data/raw.
INCOMING = ".incoming"
RESERVE = 2**27  # At least this many bytes of the disk must stay free.


@dataclass(frozen=True)
class Arrival:
    """The files to add."""

    files: Mapping[str, Path]  # new path below data/raw → current path of the file
    sums: Mapping[str, str]  # new path below data/raw → sha256; empty if `path` is no archive
    skipped: tuple[str, ...]  # names of hidden files and system files, which are not added


@dataclass(frozen=True)
class Plan:
    """What happens to each file to add. A file is named by its new path below data/raw."""

    new: tuple[str, ...]  # files to write, including the files of `replaced`
    replaced: frozenset[str]  # files that overwrite an old file with other content
    known: tuple[str, ...]  # files that are not written: data/raw has them with the same content


def add_images(path: Path, into: str = "", replace_others: bool = False) -> None:
    """Copy a folder's content, a file or an archive's content into data/raw, then `dvc add` it.

    path: the folder, file or archive. into: the path of the folder below data/raw to add to; ""
    means data/raw itself. replace_others: overwrite files of data/raw that have the same name as a
    new file but other content.
    If the process is killed, data/raw has all of the new files or none of them. If the process is
    killed while the new data/raw replaces the old one, data/raw may be missing. The next call of
    this function restores the old data/raw and removes temporary files. Adding the same files again
    changes nothing.
    Raises UserError if the current folder is not the root of a repository, if `path`, `into`, the
    name of a file or the archive is not accepted, or if a file is not a plain file, such as a link.
    Raises UserError if data/raw has a file with the same name and other content and
    `replace_others` is false, or if data/raw has no files although data/raw.dvc exists. Raises
    UserError if the disk has too little space, or if DVC fails. If DVC fails, data/raw already has
    the new files. After the other errors, data/raw is unchanged.
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
            # After this block, `write_whole` syncs each file. With `os.sync` first, this is quick,
            # because all bytes are on the disk already.
            os.sync()
        track_with_dvc(RAW, keep_open=[lock])
    log.info(arrivals.summary(plan.new, len(plan.replaced), len(plan.known), arrival.skipped))
    for line in arrivals.alike_names(plan.new, existing):
        log.warning(line)
    log.info(f"next: git add {RAW}.dvc && dvc repro")


def _source(path: Path) -> Path:
    """Return `path` as an absolute path without links.

    Raises UserError if the path does not exist, if it is no folder and no plain file, if it is
    data/raw, if it is in data/raw, or if it contains data/raw.
    """
    source, raw = path.resolve(), RAW.resolve()
    if not source.is_dir() and not source.is_file():
        raise UserError(f"no such folder, file or archive; give another path. Received: {path}")
    if source == raw or raw in source.parents or source in raw.parents:
        raise UserError(
            f"{RAW} cannot be added to itself; `dvc add {RAW}` tracks what you changed in it. "
            f"Received: {path}"
        )
    return source


def _existing() -> tuple[str, ...]:
    """Return the paths of the files in data/raw, relative to data/raw; empty if it is missing.

    Raises UserError if data/raw is a link or a mount, or if it contains something other than
    folders, plain files and links into DVC's cache. Raises UserError if data/raw has no files
    although data/raw.dvc exists.
    """
    if RAW.is_symlink() or os.path.ismount(RAW):
        raise UserError(
            f"{RAW} must be a plain folder, because `fovea data add` replaces the whole folder; to "
            "use a larger disk, put DVC's cache on it (`dvc cache dir`). "
            f"Received: {RAW} is a link or a mount"
        )
    existing = _files(RAW, with_links=True) if RAW.is_dir() else ()
    tracked = Path(f"{RAW}.dvc")
    if not existing and tracked.exists():
        raise UserError(
            f"the images that {tracked} names are missing; run `dvc checkout` or `dvc pull` first, "
            f"then add the new files. Received: {RAW} is empty"
        )
    return existing


def _files(folder: Path, with_links: bool = False) -> tuple[str, ...]:
    """Return the sorted paths of all files below a folder, relative to the folder.

    with_links: accept links into DVC's cache, which DVC makes if `cache.type` is symlink.
    Raises UserError if a file is neither a plain file nor such a link, or if a folder cannot be
    read.
    """
    tree = scan(folder)
    for name in sorted([*tree.files, *tree.closed]):
        path = folder / name
        by_dvc = with_links and path.is_symlink() and linked_object(path) is not None
        if (path.is_symlink() and not by_dvc) or not path.is_file():
            relink = f"; if DVC made a link, run `dvc checkout --relink {RAW}.dvc`" * with_links
            raise UserError(
                f"{folder} contains a link, a pipe, a device or a folder that cannot be read; only "
                f"plain files can be added, so replace it by a plain file or remove it{relink}. "
                f"Received: {path}"
            )
    return tree.files


def _arrival(source: Path, file_name: str, folder: PurePosixPath, incoming: Path) -> Arrival:
    sums: Mapping[str, str] = {}
    if source.is_dir():
        names = _files(source)
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
        raise UserError(f"there is no file to add; give a path with files. Received: {source}")
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
            f"{len(others)} of the new files have the name of a file in {RAW} with other content; "
            "rename the new files, or overwrite the old files with --replace. "
            f"Received: {others[0]}"
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
    """Make hard links in `staged` to the files of data/raw.

    All folders of data/raw are made in `staged`, with the same permissions. Files that a new file
    will replace get no link.
    """
    for name in scan(RAW).folders if RAW.is_dir() else ():
        (staged / name).mkdir(parents=True, exist_ok=True)
        shutil.copymode(RAW / name, staged / name)
    for name in existing:
        if name not in plan.replaced:
            try:
                os.link(RAW / name, staged / name)
            except OSError:  # The file system has no hard links, or another user owns the file.
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
    """Write the file `name` into `staged`. Move a file of an archive, and copy any other file.

    Raises UserError if the sha256 of the written file is not the sha256 of the source.
    """
    source, target = arrival.files[name], staged / name
    expected = arrival.sums.get(name)
    if expected:
        source.rename(target)
    else:
        expected = sha256(source)
        _copy(source, target)
    if sha256(target) != expected:
        raise UserError(
            "a copy differs from its source, because the source was changed during the copy or the "
            f"disk is faulty; nothing was added; try again. Received: {source}"
        )


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("xb") as written:
        # Some systems do not have copy_file_range, and it fails between some file systems.
        with suppress(AttributeError, OSError):
            while os.copy_file_range(read.fileno(), written.fileno(), 2**30):
                pass
        shutil.copyfileobj(read, written)  # copies the bytes that copy_file_range has not copied


def _check_space(need: int, folder: Path) -> int:
    """Return how many bytes may be added. Raises UserError if `need` is larger than this number.

    need: the size of the new files in bytes. folder: a folder on the disk of data/raw. `dvc add`
    copies the files into DVC's cache. If the cache is on the same disk, each byte is stored twice.
    """
    cache = next(path for path in _upwards(cache_folder()) if path.exists())
    copies = 2 if cache.stat().st_dev == folder.stat().st_dev else 1
    free = shutil.disk_usage(folder).free
    space = max(0, free - RESERVE) // copies
    if need > space:
        raise UserError(
            f"free space on the disk of {RAW.parent}; {copies * need:,} bytes are needed (twice "
            "the files' size if DVC's cache is on the same disk), and another "
            f"{RESERVE:,} bytes must stay free. Received: {free:,} bytes free"
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
            f"{path} was not added; fix this error and try again: {error.strerror or error}. "
            f"Received: {where}"
        ) from None
