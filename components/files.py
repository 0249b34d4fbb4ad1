"""New content → a file or folder that has all of the old content or all of the new content.

The new content is written to `.NAME.PID.part` in the same folder, synced to the disk, and renamed
to NAME. If the process PID is killed, its part stays there. The next write of the same path removes
the parts of dead processes.
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

    The caller creates a file or a folder at the temporary path. To replace a folder takes two
    renames, since POSIX has no rename that exchanges two folders. Between the two renames `path` is
    missing. If the process is killed at that moment, `path` is missing until the next write, which
    first restores the old folder.
    After an error or Ctrl-C the temporary path is removed and `path` is unchanged.
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
    """Return the sha256 of a file's bytes as 64 hex digits; the file is read in small pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_leftovers(path: Path) -> None:
    """Remove the parts of `path` that this process and dead processes have left.

    A part with the number of this process may be from an earlier process: in a container that is
    started again, processes get the same numbers again.
    """
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        name = re.fullmatch(r"(\d+)(\.old)?", part.name[len(path.name) + 2 : -len(".part")])
        if name is None or (int(name[1]) != os.getpid() and is_alive(int(name[1]))):
            continue
        with suppress(FileNotFoundError):  # another process may remove the part at the same time
            # The process was killed between the two renames of a folder: restore the old folder.
            if name[2] and not path.exists():
                part.rename(path)
            elif part.is_dir() and not part.is_symlink():
                shutil.rmtree(part)
            else:
                part.unlink()


def is_alive(pid: int) -> bool:
    """Return whether a process with this number runs; it may belong to any user.

    A zombie counts as not running: it has ended, but is still in the table of processes.
    """
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.AccessDenied:  # the process belongs to another user
        return True
    except psutil.NoSuchProcess:
        return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
