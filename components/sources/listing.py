"""The list of pictures that every kind of source gives, with their labels; no picture is read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple
from unicodedata import category

from components.errors import UserError
from components.words import printable

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
# Other image formats. The decoder refuses them, so each becomes a row with a fault. If they were
# not listed, a class that has only such images would be gone without a word in any report.
REFUSED = (".gif", ".tif", ".tiff", ".jfif", ".jpe", ".heic", ".heif", ".avif", ".jp2", ".jxl")
ENDINGS = (*EXTENSIONS, *REFUSED)
# How people name the splits, in folders and tables.
SPLITS_BY_WORD = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
JUNK = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
NOTHING: Mapping[str, str | None] = {}


class Entry(NamedTuple):
    """One picture: where its bytes are, and what its folder, table or array says of it.

    path: POSIX, below data/raw; the element of an array has `<file>/<array>/<number>` or
    `<file>/<number>`. label is empty where there is none. extras: further columns of a table.
    """

    path: str
    label: str
    group: str | None = None
    given_split: str | None = None
    extras: Mapping[str, str | None] = NOTHING


@dataclass(frozen=True)
class Listing:
    """All pictures of a source, sorted by path, each path once.

    kind: as in `ingest.source.kind`, never auto. ignored: paths of files that are no pictures.
    columns: names of the extras, in the table's order. folders: those below the root, without links
    to folders. notes: lines for the log.
    """

    kind: str
    entries: Sequence[Entry]
    ignored: tuple[str, ...]
    columns: tuple[str, ...]
    folders: frozenset[str]
    notes: tuple[str, ...]


def is_image(name: str) -> bool:
    """Return whether a file counts as a picture by its extension, in upper or lower case."""
    return name.lower().endswith(ENDINGS)


def is_junk(name: str) -> bool:
    """Return whether a file or one of its folders is hidden, or was left by a file browser.

    >>> is_junk("cat/.DS_Store"), is_junk("__MACOSX/cat/1.png"), is_junk("cat/1.png")
    (True, True, False)
    """
    return any(part.startswith(".") or part in JUNK for part in PurePosixPath(name).parts)


def check_labels(entries: Iterable[Entry], advice: str) -> None:
    """Raise UserError where there are fewer than two labels, or one is not a line of text.

    advice: what to do, in words. A label names rows in reports, tables and logs, so a line break or
    another control character in it breaks them; most often it is a lost quote in a table. A slash
    is fine, for no file is ever named after a label.
    """
    labels = sorted({entry.label for entry in entries} - {""})
    if broken := [label for label in labels if not _is_line(label)]:
        raise UserError(
            f"a label is one line of text without control characters; rename it in data/raw. "
            f"Received: {broken[0]!r}"
        )
    if len(labels) < 2:
        classes = f"class {printable(labels[0])} alone" if labels else "no class"
        raise UserError(
            f"a classifier needs two classes or more; {advice}. Received: images of {classes}"
        )


def _is_line(label: str) -> bool:
    return not any(category(character) in ("Cc", "Zl", "Zp") for character in label)
