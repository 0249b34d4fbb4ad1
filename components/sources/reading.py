"""The path of a picture in data/raw → its bytes, from a plain file or from an array file."""

from pathlib import Path

from components.sources.arrays import array_file, picture_bytes
from components.sources.tree import read_plain


def read_bytes(root: Path, path: str, max_bytes: int, state: Path) -> bytes:
    """Return the bytes of the picture `path`; an element of an array file is returned as a .npy.

    state: a folder for files that may be deleted at any time, such as copies of arrays of an .npz.
    Raises Fault with one of the codes missing, outside, symlink, not_a_file, too_many_bytes or
    unreadable. Raises UserError if an array file is damaged, or if the disk is too full for a copy.
    """
    if file_of(root, path) == path:
        return read_plain(root, path, max_bytes)
    return picture_bytes(root, path, max_bytes, state)


def file_of(root: Path, path: str) -> str:
    """Return the path of the file that holds the picture `path`: `path`, or an array file."""
    holder = array_file(path)
    # A folder can also have a name such as x.npy; then `path` is a plain file in it.
    return path if holder is None or (root / holder).is_dir() else holder
