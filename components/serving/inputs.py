"""Paths of a command line → images one by one, each with its name; nothing is skipped silently.

A path is an image, a folder, a zip or tar, a table with a column `path`, or `-`. Standard input is
one image, or has the path of an image in each line. What cannot be read is given as a Fault, so
every input gets a row. Only hidden files, and files that a file browser made, are left out.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Condition
from typing import IO

from components.archives.reading import count_files, read_files
from components.archives.unpacking import is_archive
from components.errors import UserError
from components.images.fault import Fault
from components.images.signatures import name_format
from components.parallel import TO_THREAD
from components.serving.model import read_source
from components.sources.listing import is_junk
from components.sources.table_files import READERS, read_rows
from components.sources.tree import read_plain, scan
from components.words import count_text

log = logging.getLogger(__name__)

STDIN = "-"
COLUMN = "path"  # of a table
# The first bytes of standard input say what it is. No format needs more to be recognised.
FIRST_BYTES = 4_096
LONGEST_LINE = 65_536  # bytes of a path in standard input
# An archive is read from its start to its end, so its images wait in memory until a thread decodes
# them. They have at most so many bytes together. (A handful of them may always be there.)
AHEAD_BYTES = 2**27


FileId = tuple[int, int]  # the device of a file, and its number there


def file_id(file: Path | int) -> FileId | None:
    """Return the id of a file by its path or descriptor; None if there is no such file."""
    try:
        status = os.fstat(file) if isinstance(file, int) else file.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@dataclass(frozen=True)
class Input:
    """One image. name: how the user knows it. read: its bytes, or raises Fault; called in a thread.

    The name of a file in a folder, an archive or a table starts with the path that the user gave.
    """

    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Inputs:
    """Images that can be gone through once. total: their number; None if it is not known yet.

    Images of an archive must be read while one goes through them: further ones may wait for them.
    """

    total: int | None
    images: Iterator[Input]


def read_inputs(paths: Sequence[str], max_bytes: int, output: FileId | None = None) -> Inputs:
    """Return the images behind paths, in the order of the paths.

    paths: see the top of this file. max_bytes: a larger file is a Fault with `too_many_bytes`.
    output: the file that gets the predictions, if there is one; it is left out of a folder.

    Raises UserError if a folder cannot be listed, if a table is malformed or has no column `path`,
    if an archive has a format that cannot be read, or if `-` is given twice.
    """
    if paths.count(STDIN) > 1:
        raise UserError("PATH: give - (standard input) only once. Received: - twice")
    parts = [_read_path(path, max_bytes, output) for path in paths]
    totals = [part.total for part in parts]
    known = [total for total in totals if total is not None]
    images = (image for part in parts for image in part.images)
    return Inputs(sum(known) if len(known) == len(totals) else None, images)


def _read_path(text: str, max_bytes: int, output: FileId | None) -> Inputs:
    if text == STDIN:
        return Inputs(None, _standard_input(sys.stdin.buffer, max_bytes))
    path = Path(text)
    try:
        if path.is_dir():
            return _folder(path, max_bytes, output)
        is_file = path.is_file()
    except (OSError, ValueError):  # for example, a name that is too long, or one with a NUL
        is_file = False
    if is_file and path.suffix.lower() in READERS:
        return _table(path, max_bytes)
    if is_file and is_archive(path):
        return Inputs(count_files(path), _archive(path, max_bytes))
    return Inputs(1, iter([_named(text, max_bytes)]))


def _named(path: str, max_bytes: int) -> Input:
    """Return the image of a path that the user named. A link is followed."""
    return Input(path, lambda: read_source(path, max_bytes))


def _below(root: Path, path: str, name: str, max_bytes: int) -> Input:
    """Return an image below a folder. Only a link into DVC's cache is followed."""
    return Input(name, lambda: read_plain(root, path, max_bytes))


def _folder(folder: Path, max_bytes: int, output: FileId | None) -> Inputs:
    tree = scan(folder)
    wanted = [path for path in tree.files if not is_junk(path)]
    if hidden := len(tree.files) - len(wanted):
        files = count_text(hidden, "hidden file is", "hidden files are")
        log.info(f"{folder}: {files} left out")
    if output is not None:
        for path in [path for path in wanted if file_id(folder / path) == output]:
            log.info(f"{folder / path} is left out, because it gets the predictions")
            wanted.remove(path)
    closed = [path for path in tree.closed if not is_junk(path)]

    def images() -> Iterator[Input]:
        for path in wanted:
            yield _below(folder, path, str(folder / path), max_bytes)
        for path in closed:
            yield _closed(folder / path)

    return Inputs(len(wanted) + len(closed), images())


def _closed(folder: Path) -> Input:
    return _fault(str(folder), Fault("unreadable", "this folder is a link, or cannot be listed"))


def _fault(name: str, fault: Fault) -> Input:
    def read() -> bytes:
        raise fault

    return Input(name, read)


def _table(path: Path, max_bytes: int) -> Inputs:
    columns, rows = read_rows(path.parent, path.name, ())
    if COLUMN not in columns:
        raise UserError(
            f"{path} needs a column {COLUMN} with the paths of the images, relative to the folder "
            f"of the table. Received: {', '.join(map(repr, columns)) or 'no column'}"
        )
    paths = [row[COLUMN] for _, row in rows]
    return Inputs(len(paths), (_of_row(path, value, max_bytes) for value in paths))


def _of_row(table: Path, value: object, max_bytes: int) -> Input:
    if not isinstance(value, str) or not value:
        return _fault(f"{table}: {value}", Fault("missing", f"no path in the column {COLUMN}"))
    return _below(table.parent, value, str(table.parent / value), max_bytes)


class _Waiting:
    """Counts the images of an archive that wait, and makes the next one wait for them."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._changed = Condition()

    def hold(self, image: Input, size: int) -> Input:
        """Return an image that waits until its bytes are read. size: their number."""
        with self._changed:
            # Threads get images in handfuls. If those of a handful that is not complete had to wait
            # for each other, all would wait for ever.
            self._changed.wait_for(
                lambda: len(self._sizes) < TO_THREAD or sum(self._sizes) + size <= AHEAD_BYTES
            )
            self._sizes.append(size)

        def read() -> bytes:
            with self._changed:
                self._sizes.remove(size)
                self._changed.notify_all()
            return image.read()

        return Input(image.name, read)


def _archive(path: Path, max_bytes: int) -> Iterator[Input]:
    waiting = _Waiting()
    try:
        for name, data in read_files(path, max_bytes):
            image = _packed(f"{path}/{name}", data, max_bytes)
            yield waiting.hold(image, len(data) if len(data) <= max_bytes else 0)
    except UserError as error:
        yield _fault(str(path), Fault("damaged_archive", f"the rest is not read: {error}"))


def _packed(name: str, data: bytes, max_bytes: int) -> Input:
    if len(data) > max_bytes:
        text = f"it has more than the maximum of {max_bytes} bytes"
        return _fault(name, Fault("too_many_bytes", text))
    return Input(name, lambda: data)


def _standard_input(stream: IO[bytes], max_bytes: int) -> Iterator[Input]:
    first = stream.read(FIRST_BYTES)
    if name_format(first) is not None or b"\0" in first or not _is_text(first):
        yield _packed(STDIN, first + stream.read(max(0, max_bytes + 1 - len(first))), max_bytes)
        return
    for line in _lines(first, stream):
        name = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
        if name:
            yield _named(name, max_bytes)


def _is_text(first: bytes) -> bool:
    # The last bytes may be the first half of a letter.
    return not first or any(_decodes(first[: len(first) - cut]) for cut in range(4))


def _decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeError:
        return False
    return True


def _lines(first: bytes, stream: IO[bytes]) -> Iterator[bytes]:
    *whole, rest = first.split(b"\n")
    yield from whole
    while line := stream.readline(LONGEST_LINE):
        rest += line
        if rest.endswith(b"\n") or len(rest) >= LONGEST_LINE:
            yield rest
            rest = b""
    yield rest
