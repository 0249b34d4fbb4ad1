"""Array files → the path and label of each picture (entries); one path → the picture's bytes."""

import re
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from components.errors import UserError
from components.images.fault import Fault
from components.params.split import SPLITS
from components.sources.array_files import Stored, read_array, read_element, stored_arrays
from components.sources.listing import Entry
from components.sources.tree import Tree
from components.words import name_list

# The supported ways to name the arrays. Each way is called a family. A family maps a split to two
# names: the name of the array of pictures, and the name of the array of labels. The split None
# means that the pictures have no split yet.
FAMILIES: tuple[Mapping[str | None, tuple[str, str]], ...] = (
    {split: (f"x_{split}", f"y_{split}") for split in SPLITS},
    {split: (f"{split}_images", f"{split}_labels") for split in SPLITS},
    {None: ("x", "y")},
    {None: ("images", "labels")},
)
NAMES = (
    "x_train and y_train or train_images and train_labels (in the same way for val and test), "
    "x and y, or images and labels"
)
# Matches the path of a picture in an array file; see `Entry.path`.
ELEMENT = re.compile(r"(.+\.npz)/([^/]+)/(\d+)|(.+\.npy)/(\d+)", re.IGNORECASE | re.DOTALL)
DEPTHS = ("|u1", "|b1", "<u2", ">u2")  # dtypes: uint8, bool, uint16 in both byte orders
CHANNELS = (1, 3, 4)

Arrays = Mapping[str, Stored]


def array_file(path: str) -> str | None:
    """Return the path of the array file of a picture. None if the picture is a plain file.

    path: the path of the picture, as in `Entry`.

    >>> array_file("digits.npz/x_train/017"), array_file("cat/1.png")
    ('digits.npz', None)
    """
    if ".np" not in path.lower():
        return None
    parts = ELEMENT.fullmatch(path)
    return (parts[1] or parts[4]) if parts else None


def array_entries(root: Path, tree: Tree) -> tuple[list[Entry], list[str]]:
    """Return the entries of all pictures in the array files, and lines for the log.

    The array files are directly in `root`. The entries are sorted by path.

    Raises UserError if there are no arrays, if the pictures and labels do not match, or if an array
    file is damaged.
    """
    arrays = _arrays(root, tree)
    pairs = _pairs(arrays)
    entries: list[Entry] = []
    notes = []
    for split, (pictures, labels) in pairs.items():
        _check_pictures(pictures, labels)
        names = _names(root, labels)
        numbers = _numbers(len(names))
        entries += [
            Entry(f"{pictures.path}/{number}", name, None, split)
            for number, name in zip(numbers, names, strict=True)
        ]
        if labels.dtype.kind in "iu":
            notes.append(f"labels in {labels.path} are whole numbers; they are used as class names")
    spare = set(arrays.values()) - {stored for pair in pairs.values() for stored in pair}
    if spare:
        paths = name_list(stored.path for stored in spare)
        notes.append(f"arrays that contain no pictures or labels are left out ({paths})")
    return sorted(entries), notes


def picture_bytes(root: Path, path: str, max_bytes: int, state: Path) -> bytes:
    """Return one picture of an array file, as the bytes of a .npy file with only this picture.

    path: the path of the picture, as in `Entry`.
    max_bytes: the maximum number of bytes of the picture, without the header of the .npy file.
    state: the folder for copies of the arrays of an .npz.

    Raises the Faults of `open_plain`; a Fault says why a file cannot be read. Also raises Fault
    with the code `missing` if no picture in the array file has this path, and with the code
    `too_many_bytes` if the picture is too large. Raises UserError if the array file is damaged, or
    if the disk is too full for a copy of the array.
    """
    parts = ELEMENT.fullmatch(path)
    assert parts is not None, path
    file, member, digits = parts[1] or parts[4], parts[2], parts[3] or parts[5]
    stored = stored_arrays(root, file).get(member)
    if stored is None or not _is_number(digits, stored.shape[0] if stored.shape else 0):
        raise Fault("missing", f"{file} contains no picture with the path {path}")
    if stored.element_bytes > max_bytes:
        text = f"it has {stored.element_bytes} bytes, more than the maximum of {max_bytes}"
        raise Fault("too_many_bytes", text)
    values = read_element(root, stored, int(digits), state)
    if stored.dtype.byteorder == ">":
        values = np.frombuffer(values, stored.dtype).astype("<u2").tobytes()
    return _header(stored.shape[1:], stored.dtype.str.replace(">", "<")) + values


@lru_cache(maxsize=8)
def _header(shape: tuple[int, ...], kind: str) -> bytes:
    file = BytesIO()
    npy.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


def _numbers(length: int) -> list[str]:
    """Return the numbers from 0 to `length` - 1 as texts.

    The texts have leading zeros, so that sorting the texts gives the order of the numbers.
    """
    width = len(str(max(0, length - 1)))
    return [f"{number:0{width}}" for number in range(length)]


def _is_number(digits: str, length: int) -> bool:
    """Return whether `digits` is one of the texts that `_numbers(length)` returns."""
    width = len(str(max(0, length - 1)))
    return digits.isascii() and len(digits) == width and int(digits) < length


def _arrays(root: Path, tree: Tree) -> Arrays:
    """Return name → description of the arrays in the array files directly in `root`.

    Raises UserError unless the array files are exactly one .npz, or one or more .npy. Also raises
    UserError if a file cannot be read.
    """
    packs, plain = tree.top(".npz"), tree.top(".npy")
    if len(packs) > 1 or (packs and plain) or not (packs or plain):
        raise UserError(
            f"{root} must directly contain either one .npz file, or .npy files of pictures and "
            "labels and no .npz; add or remove array files. "
            f"Received: {name_list([*packs, *plain]) or 'none'}"
        )
    try:
        if packs:
            return {str(name): stored for name, stored in stored_arrays(root, packs[0]).items()}
        return {name[:-4]: stored_arrays(root, name)[None] for name in plain}
    except Fault as fault:
        raise UserError(
            f"the array files in {root} must be plain, readable files, or links into DVC's cache; "
            "replace any other link by a file, and make the files readable. "
            f"Received: {name_list([*packs, *plain])}: {fault.text}"
        ) from None


def _pairs(arrays: Arrays) -> dict[str | None, tuple[Stored, Stored]]:
    """Return split → (array of pictures, array of labels).

    Raises UserError if the names of the arrays do not match exactly one family of FAMILIES, or if
    one array of a pair is missing.
    """
    complete = [
        {split: (arrays[x], arrays[y]) for split, (x, y) in family.items() if x in arrays}
        for family in FAMILIES
        if {name for pair in family.values() for name in pair} & arrays.keys()
        and all((x in arrays) == (y in arrays) for x, y in family.values())
    ]
    if len(complete) != 1:
        raise UserError(
            f"arrays must come in pairs of pictures and labels, called {NAMES}; rename the arrays, "
            f"and use only one of these ways. Received: {name_list(arrays) or 'no array'}"
        )
    return complete[0]


def _check_pictures(pictures: Stored, labels: Stored) -> None:
    shape, kind = pictures.shape, pictures.dtype
    right = len(shape) == 3 or (len(shape) == 4 and shape[3] in CHANNELS)
    if not right or 0 in shape[1:]:
        raise UserError(
            f"{pictures.path} must be [N, height, width] or [N, height, width, channels] with 1, 3 "
            f"or 4 channels; transpose or stack the array. Received: {list(shape)}"
        )
    if kind.str not in DEPTHS:
        raise UserError(
            f"{pictures.path} must have the dtype uint8, uint16 or bool; scale floats to the range "
            f"from 0 to 255, and save them as uint8. Received: {kind}"
        )
    if labels.shape not in ((shape[0],), (shape[0], 1)):
        raise UserError(
            f"{labels.path} must have one label per picture of {pictures.path}, which has "
            f"{shape[0]} pictures; save one class number or class name per picture. "
            f"Received: {list(labels.shape)}"
        )


def _names(root: Path, labels: Stored) -> list[str]:
    """Return the labels of all pictures as texts.

    labels: the description of the array of labels.

    Raises UserError if the labels are neither whole numbers nor UTF-8 text.
    """
    if labels.dtype.kind not in "iuUS":
        raise UserError(
            f"{labels.path} must contain whole numbers or text, because a label names a class; "
            f"save class numbers or class names. Received: {labels.dtype}"
        )
    values = read_array(root, labels).ravel()
    try:
        return [_name(value) for value in values.tolist()]
    except UnicodeError:
        raise UserError(
            f"{labels.path} must contain labels in UTF-8; save the labels as text, with "
            "labels.astype(str). Received: bytes that are not UTF-8"
        ) from None


def _name(value: Any) -> str:
    name = value.decode() if isinstance(value, bytes) else str(value)
    name.encode()  # raises UnicodeError if the text contains half of a surrogate pair
    return name
