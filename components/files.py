"""Content → a file or folder that is either the old one or the new one, never half of one."""

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
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and rename it onto `path`.

    The temporary path may be made a file or a folder. A folder replaces the old one as a whole, by
    two renames, since POSIX has none that exchanges folders: for an instant `path` is missing, and
    a process killed just then leaves it so until the next write, which brings the old one back.
    After an error or Ctrl-C the temporary path is gone and `path` is what it was. What a killed
    process left is removed by the next write of the same path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _tidy(path)
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
        _tidy(path)


def sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes as 64 hex digits, reading a megabyte at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tidy(path: Path) -> None:
    """Remove what this and dead processes left beside `path`; an old folder is put back if need be.

    What carries our own number may also be left from a container that was started again.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        named = re.fullmatch(r"(\d+)(\.old)?", left.name[len(path.name) + 2 : -len(".part")])
        if named is None or (int(named[1]) != os.getpid() and is_alive(int(named[1]))):
            continue
        with suppress(FileNotFoundError):  # another process tidies up, too
            if named[2] and not path.exists():
                left.rename(path)
            elif left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()


def is_alive(pid: int) -> bool:
    """Tell whether a process with this number runs, of any user.

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
