"""File names and labels → whether they are usable; also the types Entry and Listing.

A source is the folder data/raw with its images and labels. A Listing contains all pictures of a
source. An Entry is one picture.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from components.errors import UserError
from components.params.section import LONGEST_LABEL, is_label
from components.words import printable

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
# More extensions of image files. The decoder refuses the formats of these files, except JPEG files
# with the extension .jfif or .jpe. A refused file is also listed. It becomes a row of the manifest
# (the table of all images), and the column `fault` says why it is refused. If refused files were
# not listed, a class that has only refused files would be missing, and no report would mention the
# missing class.
REFUSED = (".jfif", ".jpe", ".heic", ".heif", ".avif", ".jp2", ".jxl")
ENDINGS = (*EXTENSIONS, *REFUSED)
# The name of a split in a folder or table → the name of the split in this project.
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
    """One picture of a source: the path of its bytes, and what the source says about the picture.

    path: the POSIX path, relative to data/raw. The path of a picture in an .npz is
    `<file>/<array>/<number>`. The path of a picture in a .npy is `<file>/<number>`.
    label: the label of the picture. Empty if the picture has no label.
    group: the name of the group of the picture. None if the picture has no group. All pictures of a
    group get the same split.
    given_split: the split that the source states for the picture. None if it states no split.
    extras: name → value, for the columns of a table that `ingest.source.columns` does not name.
    Empty if the source is no table.
    """

    path: str
    label: str
    group: str | None = None
    given_split: str | None = None
    extras: Mapping[str, str | None] = NOTHING


@dataclass(frozen=True)
class Listing:
    """All pictures of a source.

    kind: the kind of the source, a value of `ingest.source.kind` other than auto.
    entries: the entries of all pictures, sorted by path. A path occurs only once.
    ignored: the paths of files that are not listed as pictures.
    columns: the names in the `extras` of the entries, in the order of the columns in the table.
    Empty if the source is no table.
    folders: the paths of all folders below the root, and "" for the root itself. Links to folders
    are not included.
    notes: the lines for the log.
    """

    kind: str
    entries: Sequence[Entry]
    ignored: tuple[str, ...]
    columns: tuple[str, ...]
    folders: frozenset[str]
    notes: tuple[str, ...]


def is_image(name: str) -> bool:
    """Return whether a file name has the extension of an image format, in upper or lower case."""
    return name.lower().endswith(ENDINGS)


def is_junk(name: str) -> bool:
    """Return whether a file or one of the folders in its path is hidden or made by a file browser.

    >>> is_junk("cat/.DS_Store"), is_junk("__MACOSX/cat/1.png"), is_junk("cat/1.png")
    (True, True, False)
    """
    return any(part.startswith(".") or part in JUNK for part in PurePosixPath(name).parts)


def check_labels(entries: Iterable[Entry], advice: str) -> None:
    """Raise UserError if there are fewer than two labels, or if a label is not one line of text.

    entries: the entries of a source.
    advice: the part of the error message that says what the user can do to get more labels.

    Labels appear in reports, tables and logs. A line break or another control character in a label
    would damage these outputs. The usual cause of a line break is a missing quote in a table. A
    slash is allowed, because labels are not used as file names.
    """
    labels = sorted({entry.label for entry in entries} - {""})
    if broken := [label for label in labels if not is_label(label)]:
        raise UserError(
            "a label must be one line of text without control characters, of at most "
            f"{LONGEST_LABEL:,} characters; correct the label in data/raw. "
            f"Received: {broken[0][:60]!r} ({len(broken[0]):,} characters)"
        )
    if len(labels) < 2:
        classes = f"only one class, {printable(labels[0])}" if labels else "no class"
        raise UserError(
            f"a classifier needs two classes or more; {advice}. Received: images of {classes}"
        )
