"""A folder → the paths below it; a path → the file's bytes.

No file outside of the folder is read, except files of DVC's cache (see dvc_cache.py).
"""

import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.errors import UserError
from components.images.fault import Fault
from components.sources.dvc_cache import linked_object
from components.words import printable

# The flags for opening a folder that is part of a path. With O_PATH, a folder can be opened without
# the permission to list it. O_PATH exists only on Linux; other systems use O_RDONLY.
PASS = os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # the flags for opening the file of a path


@dataclass(frozen=True)
class Tree:
    """The paths below a folder, as POSIX paths relative to the folder. Each tuple is sorted.

    A link is always a symbolic link here.

    files: the paths of plain files, pipes, devices, and links that do not lead to a folder.
    folders: the paths of all folders, without links to folders.
    closed: the paths of folders that cannot be listed, and of links to folders. It is unknown which
    files are in these folders.
    """

    files: tuple[str, ...]
    folders: tuple[str, ...]
    closed: tuple[str, ...]

    def top(self, *suffixes: str) -> list[str]:
        """Return the names of the files directly in the folder that end with one of the suffixes.

        suffixes: the endings in lower case. A file name may have the ending in upper or lower case.

        Hidden files are left out. For example, macOS writes a hidden file `._labels.csv` beside
        `labels.csv` on a disk that was formatted by another operating system.
        """
        here = (name for name in self.files if "/" not in name and not name.startswith("."))
        return [name for name in here if name.lower().endswith(suffixes)]

    def top_folders(self) -> list[str]:
        """Return the names of the folders directly in the folder of this Tree, without links."""
        return [name for name in self.folders if "/" not in name]


def scan(root: Path) -> Tree:
    """List everything below `root`; links are not followed.

    Raises UserError if `root` itself cannot be listed, or if a name has other characters than ASCII
    and Python does not read names as UTF-8.
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
    _check_encoding((*files, *folders, *closed))
    return Tree(tuple(sorted(files)), tuple(sorted(folders)), tuple(sorted(set(closed))))


def _check_encoding(paths: Iterable[str]) -> None:
    """Raise UserError if names were read in another encoding than UTF-8, and this changes them.

    With the locale C or Latin-1, the same files would have other names than on other machines. So
    they would have other labels, and the tables of other machines would not name them.
    """
    encoding = sys.getfilesystemencoding()
    if encoding == "utf-8":
        return
    if other := next((path for path in paths if not path.isascii()), None):
        raise UserError(
            f"Python reads the names of files as {encoding}, because of LC_ALL or LANG, but names "
            "in data/raw are UTF-8; run `export PYTHONUTF8=1` first. "
            f"Received: {printable(other)}"
        )


@contextmanager
def open_plain(root: Path, path: str) -> Iterator[int]:
    """Open a plain file for reading and yield its file descriptor.

    path: the path of the file, relative to `root`.

    Each folder of the path is opened relative to its parent folder and must not be a link. So the
    file is always below `root`, even if another process replaces a folder by a link at the same
    time. The file itself may be a link into DVC's cache; then the file of the cache is opened. A
    pipe is refused immediately; the function does not wait for a process that writes to the pipe.

    Raises Fault with the code `outside`, `missing`, `symlink`, `not_a_file` or `unreadable`. (A
    Fault says why a file cannot be used.) An OSError in the `with` block is converted to a Fault
    with the code `unreadable`.
    """
    try:
        descriptor = _open(root, path)
    except OSError as error:
        raise Fault(_code(error), f"{path}: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Fault("not_a_file", f"{path} is not a plain file")
        yield descriptor
    except OSError as error:
        raise Fault("unreadable", f"{path}: {error.strerror}") from None
    finally:
        os.close(descriptor)


def read_plain(root: Path, path: str, max_bytes: int) -> bytes:
    """Return the bytes of a plain file.

    path: the path of the file, relative to `root`.
    max_bytes: the maximum size of the file in bytes.

    Raises the Faults of `open_plain`. Also raises Fault with the code `too_many_bytes` if the file
    is larger than `max_bytes`.
    """
    with open_plain(root, path) as descriptor:
        size = os.fstat(descriptor).st_size
        if size > max_bytes:
            text = f"it has {size} bytes, more than the maximum of {max_bytes}"
            raise Fault("too_many_bytes", text)
        data = os.read(descriptor, size)
        while len(data) < size and (more := os.read(descriptor, size - len(data))):
            data += more
    return data


def _open(root: Path, path: str) -> int:
    *folders, name = path.split("/")
    if path.startswith("/") or not path or ".." in (*folders, name):
        raise Fault("outside", f"{path} may lead out of the folder")
    if "\0" in path:
        raise Fault("missing", "no file has a name with a NUL character")
    here = None
    try:
        for folder in folders:
            below = _open_folder(root, folder, here)
            if here is not None:
                os.close(here)
            here = below
        try:
            return os.open(name if folders else root / name, READ, dir_fd=here)
        except OSError as error:
            linked = linked_object(root / path) if error.errno == errno.ELOOP else None
            if linked is None:
                raise
            return os.open(linked, READ)
    finally:
        if here is not None:
            os.close(here)


def _open_folder(root: Path, folder: str, here: int | None) -> int:
    """Open a folder and return its file descriptor.

    folder: the name of the folder.
    here: the file descriptor of its parent folder. If None, the parent folder is `root`.

    Raises Fault with the code `symlink` if the folder is a link.
    """
    where = folder if here is not None else f"{root}/{folder}"
    try:
        return os.open(where, PASS | os.O_NOFOLLOW, dir_fd=here)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(where, dir_fd=here, follow_symlinks=False).st_mode):
            raise Fault("symlink", f"{folder} is a link, and links are not followed") from None
        raise


def _code(error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return "missing"
    return {errno.ELOOP: "symlink", errno.ENXIO: "not_a_file"}.get(error.errno or 0, "unreadable")
