"""Content → a file or folder that is either the old one or the new one, never half of one.

What is written goes to `.NAME.PID.part` beside its place, is synced to the disk and renamed. A part
whose process is dead is a leftover of a kill, and the next write of the same path removes it.
"""

import glob
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and rename it onto `path`.

    The caller makes a file or a folder of it. A folder takes two renames, since POSIX has none that
    exchanges folders: for an instant `path` is missing. A process that is killed just then leaves
    it missing until the next write, which puts the old one back.
    After an error or Ctrl-C the temporary path is gone and `path` is what it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        for file in [temporary, *temporary.rglob("*")] if temporary.is_dir() else [temporary]:
            _sync(file)
        if temporary.is_dir() and path.exists():
            path.rename(path.with_name(f".{path.name}.{os.getpid()}.old.part"))
        temporary.replace(path)
        _sync(path.parent)
    finally:
        _remove_leftovers(path)


def sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes as 64 hex digits, reading a megabyte at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_leftovers(path: Path) -> None:
    """Remove what this process and dead ones left beside `path`.

    A part with the number of this process may also be older than it: in a container that was
    started again processes get the same numbers.
    """
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        name = re.fullmatch(r"(\d+)(\.old)?", part.name[len(path.name) + 2 : -len(".part")])
        if name is None or (int(name[1]) != os.getpid() and is_alive(int(name[1]))):
            continue
        with suppress(FileNotFoundError):  # another process may remove it at the same time
            if name[2] and not path.exists():  # killed between the two renames of a folder
                part.rename(path)
            elif part.is_dir() and not part.is_symlink():
                shutil.rmtree(part)
            else:
                part.unlink()


def is_alive(pid: int) -> bool:
    """Return whether a process with this number runs, of any user.

    A zombie, which has ended and is not yet removed from the table of processes, does not run.
    """
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.AccessDenied:  # another user's
        return True
    except psutil.NoSuchProcess:
        return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
