"""The array file that the stage `prepare` wrote for a split → its pixels, as a memory map."""

from pathlib import Path
from typing import Any

import numpy as np

from components.errors import UserError
from components.files import sha256


def read_images(path: Path, expected: str | None = None) -> "np.memmap[Any, np.dtype[np.uint8]]":
    """Return the pixels of a split, uint8 [N, size, size, 3]; they are read from disk when used.

    path: the path of the array file. expected: the sha256 (hex) that the file must have, from
    `pixels` in statistics.json. The check reads the whole file, at 1.8 GB per second on one core.
    The check is needed because DVC compares only the size and the time of the file, and so does not
    notice a changed byte. If `expected` is None, the file is not checked. Use None for a file that
    this process has just written.

    Raises UserError if the file is missing or its sha256 is not `expected`.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; run `dvc repro prepare` first. Received: no such file")
    actual = None if expected is None else sha256(path)
    if actual != expected:
        raise UserError(
            f"{path} is not the file that `prepare` wrote, or is damaged; restore it (`fovea "
            f"data verify --heal`, `dvc checkout`), or make it again (`dvc repro -f prepare`). "
            f"Received: sha256 {actual} instead of {expected}"
        )
    images: np.memmap[Any, np.dtype[np.uint8]] = np.load(path, mmap_mode="r")
    return images
