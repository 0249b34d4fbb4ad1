"""The path of a picture in data/raw → its bytes, from a plain file or out of an array file."""

from pathlib import Path

from components.sources.arrays import array_file, picture_bytes
from components.sources.tree import read_plain


def read_bytes(root: Path, path: str, max_bytes: int, state: Path) -> bytes:
    """Return the bytes of the picture that `path` names: a plain file's, or an element's as .npy.

    state: a folder for what may be deleted at any time; arrays of an .npz are kept unpacked there.
    Raises Fault with one of the codes missing, outside, symlink, not_a_file, too_many_bytes or
    unreadable, and UserError where an array file as a whole is damaged.
    """
    if file_of(root, path) == path:
        return read_plain(root, path, max_bytes)
    return picture_bytes(root, path, max_bytes, state)


def file_of(root: Path, path: str) -> str:
    """Return the path of the file that holds the picture `path`: itself, or an array file."""
    holder = array_file(path)
    # A folder may be called x.npy, too.
    return path if holder is None or (root / holder).is_dir() else holder
