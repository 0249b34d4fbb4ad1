"""New content → a file or folder, replaced as a whole: it never has only a part of the new content.

NAME is the name of the file or folder, and PID is the number of the process that writes it. The new
content is written to `.NAME.PID.part` in the same folder, synced to the disk, and renamed to NAME.
If the process is killed, its .part file or folder remains. The next write of the same path removes
the .part files and folders of dead processes. A .part file may have one more ending, because Keras
writes a model only to a name that ends in `.keras`.
"""

import errno
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
    """Yield a temporary path beside `path`. On success, sync it and rename it to `path`.

    The caller creates a file or a folder at the temporary path. After an error or Ctrl-C, the
    temporary file or folder is removed and `path` is unchanged.

    Replacing a folder takes two renames, because a rename cannot replace a folder that contains
    files. The old folder gets a temporary name, then the new folder gets the name `path`. If the
    process is killed between the two renames, `path` is missing until the next write of `path`. The
    next write first restores the old folder.
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
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename is None:
            error.filename = str(path)  # A write on a full disk does not say which file it was.
        raise
    finally:
        _remove_leftovers(path)


def sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes as 64 hex digits; the file is read in small pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_leftovers(path: Path) -> None:
    """Remove the .part files and folders of `path` that this process or dead processes have made.

    If `path` is missing and its old folder still exists under a temporary name, the old folder is
    not removed, but renamed to `path`.

    A .part file with the number of this process may be from an earlier process. The reason is that
    a container gives its processes the same numbers after each start.
    """
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part*"):
        name = re.fullmatch(r"(\d+)(\.old)?\.part(\.\w+)?", part.name[len(path.name) + 2 :])
        if name is None or (int(name[1]) != os.getpid() and is_alive(int(name[1]))):
            continue
        with suppress(FileNotFoundError):  # another process may remove `part` at the same time
            # `part` is the old folder, and the new folder did not get the name `path`, perhaps
            # because the process was killed. So the old folder is restored.
            if name[2] and not path.exists():
                part.rename(path)
            elif part.is_dir() and not part.is_symlink():
                shutil.rmtree(part)
            else:
                part.unlink()


def is_alive(pid: int) -> bool:
    """Return whether a process with the number `pid` runs; the process may belong to any user.

    A zombie counts as not running. A zombie is a process that has ended, but is still in the
    operating system's table of processes.
    """
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.AccessDenied:  # the process belongs to another user
        return True
    except psutil.NoSuchProcess:
        return False


def is_paused(pid: int) -> bool:
    """Return whether a process was stopped by SIGSTOP, or by Ctrl-Z, and has not ended."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
