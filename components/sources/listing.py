"""A source of any kind → the list of its pictures with their labels; no picture is read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple
from unicodedata import category

from components.errors import UserError
from components.words import printable

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
# Other image formats. The decoder refuses them, so each file becomes a row with a fault. If they
# were not listed, a class with only such images would be missing, and no report would mention it.
REFUSED = (".gif", ".tif", ".tiff", ".jfif", ".jpe", ".heic", ".heif", ".avif", ".jp2", ".jxl")
ENDINGS = (*EXTENSIONS, *REFUSED)
# The name of a split in folders and tables → the name of the split in this project.
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
    """One picture: where its bytes are, and what its folder, table or array says about it.

    path: POSIX, relative to data/raw. A picture in an .npz has the path `<file>/<array>/<number>`,
    a picture in an .npy has `<file>/<number>`.
    label: empty if there is none. group, given_split: None if there is none.
    extras: name → value of the other columns of a table.
    """

    path: str
    label: str
    group: str | None = None
    given_split: str | None = None
    extras: Mapping[str, str | None] = NOTHING


@dataclass(frozen=True)
class Listing:
    """All pictures of a source, sorted by path, each path once.

    kind: a value of `ingest.source.kind`, but never auto.
    ignored: paths of files that are not listed as pictures.
    columns: names of the extras, in the order of the table.
    folders: paths of all folders below the root, and "" for the root; no links to folders.
    notes: lines for the log.
    """

    kind: str
    entries: Sequence[Entry]
    ignored: tuple[str, ...]
    columns: tuple[str, ...]
    folders: frozenset[str]
    notes: tuple[str, ...]


def is_image(name: str) -> bool:
    """Return whether the file has the extension of an image format, in upper or lower case."""
    return name.lower().endswith(ENDINGS)


def is_junk(name: str) -> bool:
    """Return whether a file or one of its folders is hidden, or was made by a file browser.

    >>> is_junk("cat/.DS_Store"), is_junk("__MACOSX/cat/1.png"), is_junk("cat/1.png")
    (True, True, False)
    """
    return any(part.startswith(".") or part in JUNK for part in PurePosixPath(name).parts)


def check_labels(entries: Iterable[Entry], advice: str) -> None:
    """Raise UserError if there are fewer than two labels, or if a label is not one line of text.

    advice: the part of the message that says what to do.

    Labels appear in reports, tables and logs. A line break or another control character in a label
    would break them; its usual cause is a missing quote in a table. A slash is allowed, because no
    file is named after a label.
    """
    labels = sorted({entry.label for entry in entries} - {""})
    if broken := [label for label in labels if not _is_line(label)]:
        raise UserError(
            f"a label must be one line of text without control characters; rename it in data/raw. "
            f"Received: {broken[0]!r}"
        )
    if len(labels) < 2:
        classes = f"class {printable(labels[0])} alone" if labels else "no class"
        raise UserError(
            f"a classifier needs two classes or more; {advice}. Received: images of {classes}"
        )


def _is_line(label: str) -> bool:
    return not any(category(character) in ("Cc", "Zl", "Zp") for character in label)
