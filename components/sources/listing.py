"""What lies in data/raw, whatever its form → a list of pictures with their labels, nothing read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple
from unicodedata import category

from components.errors import UserError
from components.words import printable

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
# Images, too, by what people call them. The decoder refuses most, by name; left out they would be
# missing, and a class of them would be gone, without a word in any report.
REFUSED = (".gif", ".tif", ".tiff", ".jfif", ".jpe", ".heic", ".heif", ".avif", ".jp2", ".jxl")
ENDINGS = (*EXTENSIONS, *REFUSED)
# How people call the sides of a split, in folders and tables.
SIDES_BY_WORD = {
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
    """One picture: where its bytes are, and what its surroundings say of it.

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

    kind: as in `ingest.source.kind`, never auto. ignored: names of files that are no pictures.
    columns: names of the extras, in the table's order. folders: those below the root that are real
    folders, not links; what lies elsewhere is not there. notes: what is told, a line each.
    """

    kind: str
    entries: Sequence[Entry]
    ignored: tuple[str, ...]
    columns: tuple[str, ...]
    folders: frozenset[str]
    notes: tuple[str, ...]


def is_image(name: str) -> bool:
    """Tell whether a file counts as a picture by its extension, in any case."""
    return name.lower().endswith(ENDINGS)


def is_junk(name: str) -> bool:
    """Tell whether a file or one of its folders is hidden, or left by a file browser."""
    return any(part.startswith(".") or part in JUNK for part in PurePosixPath(name).parts)


def check_labels(entries: Iterable[Entry], mend: str) -> None:
    """Raise UserError where there are fewer than two labels, or one is not a line of text.

    mend: what to do, in words. A label names rows in reports, tables and logs, so a line break or
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
        found = f"images of class {printable(labels[0])} alone" if labels else "images of no class"
        raise UserError(f"a classifier needs two classes or more; {mend}. Received: {found}")


def _is_line(label: str) -> bool:
    return not any(category(sign) in ("Cc", "Zl", "Zp") for sign in label)
