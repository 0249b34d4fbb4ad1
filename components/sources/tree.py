"""A folder → what is in it, and the bytes of its plain files; nothing outside of it is read."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.errors import UserError
from components.images.fault import Fault

# With O_PATH a folder need not be listed to be passed through; only Linux has it.
PASS = os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)


@dataclass(frozen=True)
class Tree:
    """Paths below a folder, POSIX and relative to it, each tuple sorted.

    files: all but folders: plain files, links, pipes, devices. folders: without links to folders.
    closed: what may hide files: folders that cannot be listed, and links to folders.
    """

    files: tuple[str, ...]
    folders: tuple[str, ...]
    closed: tuple[str, ...]

    def top(self, *suffixes: str) -> list[str]:
        """Return the files at the top whose names end so, in upper or lower case.

        Hidden ones are left out: macOS writes a `._labels.csv` beside each `labels.csv` on disks of
        other systems.
        """
        here = (name for name in self.files if "/" not in name and not name.startswith("."))
        return [name for name in here if name.lower().endswith(suffixes)]

    def top_folders(self) -> list[str]:
        """Return the folders at the top."""
        return [name for name in self.folders if "/" not in name]


def scan(root: Path) -> Tree:
    """List everything below `root`; links are not followed.

    Raises UserError where `root` itself cannot be listed.
    """
    files: list[str] = []
    folders: list[str] = []
    closed: list[str] = []
    waiting = [""]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(f"{root}/{here}") as inside:
                for item in inside:
                    path = f"{here}/{item.name}" if here else item.name
                    if item.is_dir(follow_symlinks=False):
                        folders.append(path)
                        waiting.append(path)
                    else:
                        hides = item.is_symlink() and item.is_dir()
                        (closed if hides else files).append(path)
        except OSError as error:
            if not here:
                raise UserError(
                    f"the folder {root} cannot be listed; make it readable. "
                    f"Received: {error.strerror}"
                ) from None
            closed.append(here)
    return Tree(tuple(sorted(files)), tuple(sorted(folders)), tuple(sorted(set(closed))))


@contextmanager
def open_plain(root: Path, path: str) -> Iterator[int]:
    """Yield a descriptor of the plain file at `path` below `root`, open for reading.

    Each folder on the way is opened relative to the one above it and must not be a link. So the
    file is below `root`, even if folders are exchanged for links at the same time. A pipe is
    refused without waiting for its other end.

    Raises Fault with the code outside, missing, symlink, not_a_file or unreadable.
    """
    try:
        descriptor = _open(root, path)
    except OSError as error:
        raise Fault(_code(error), f"{path}: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Fault("not_a_file", "only plain files are read")
        yield descriptor
    except OSError as error:
        raise Fault("unreadable", f"{path}: {error.strerror}") from None
    finally:
        os.close(descriptor)


def read_plain(root: Path, path: str, max_bytes: int) -> bytes:
    """Return the bytes of the plain file at `path` below `root`.

    Raises Fault as `open_plain` does, and too_many_bytes where there are more than `max_bytes`.
    """
    with open_plain(root, path) as descriptor:
        size = os.fstat(descriptor).st_size
        if size > max_bytes:
            raise Fault("too_many_bytes", f"{size} bytes, above max_bytes = {max_bytes}")
        data = os.read(descriptor, size)
        while len(data) < size and (more := os.read(descriptor, size - len(data))):
            data += more
    return data


def _open(root: Path, path: str) -> int:
    *folders, name = path.split("/")
    if path.startswith("/") or not path or ".." in (*folders, name):
        raise Fault("outside", f"{path} leaves the folder")
    if "\0" in path:
        raise Fault("missing", "no file has such a name")
    here = None
    try:
        for folder in folders:
            below = _open_folder(root, folder, here)
            if here is not None:
                os.close(here)
            here = below
        where = name if folders else root / name
        return os.open(where, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
    finally:
        if here is not None:
            os.close(here)


def _open_folder(root: Path, folder: str, here: int | None) -> int:
    """Open a folder in the folder `here`, or in `root`. Raises Fault where it is a link."""
    where = folder if here is not None else f"{root}/{folder}"
    try:
        return os.open(where, PASS | os.O_NOFOLLOW, dir_fd=here)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(where, dir_fd=here, follow_symlinks=False).st_mode):
            raise Fault("symlink", "links are not followed") from None
        raise


def _code(error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return "missing"
    return {errno.ELOOP: "symlink", errno.ENXIO: "not_a_file"}.get(error.errno or 0, "unreadable")
