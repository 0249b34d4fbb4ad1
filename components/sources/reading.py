"""The path of a picture in data/raw → its bytes, from a plain file or from an array file."""

from pathlib import Path

from components.sources.arrays import array_file, picture_bytes
from components.sources.tree import read_plain


def read_bytes(root: Path, path: str, max_bytes: int, state: Path) -> bytes:
    """Return the bytes of a picture. A picture in an array file is returned as a .npy file.

    root: the folder data/raw.
    path: the path of the picture, as in `Entry`.
    max_bytes: the maximum number of bytes of the picture.
    state: the folder for copies of the arrays of an .npz. The copies may be deleted at any time.

    Raises Fault with the code `missing`, `outside`, `symlink`, `not_a_file`, `too_many_bytes` or
    `unreadable`; the code says why the picture cannot be read. Raises UserError if an array file is
    damaged, or if the disk is too full for a copy of an array.
    """
    if file_of(root, path) == path:
        return read_plain(root, path, max_bytes)
    return picture_bytes(root, path, max_bytes, state)


def file_of(root: Path, path: str) -> str:
    """Return the path of the file that holds a picture, relative to `root`.

    For a plain file, this is `path` itself. For a picture in an array file, it is the path of the
    array file.
    """
    holder = array_file(path)
    # If `holder` is a folder with a name such as x.npy, `path` is a plain file in this folder.
    return path if holder is None or (root / holder).is_dir() else holder
