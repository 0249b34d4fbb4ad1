"""The array file that the stage `prepare` wrote for a split → its pixels, as a memory map."""

from pathlib import Path
from typing import Any

import numpy as np

from components.errors import UserError
from components.files import sha256


def read_images(path: Path, expected: str | None = None) -> "np.memmap[Any, np.dtype[np.uint8]]":
    """Return the pixels of a split, uint8 [N, size, size, 3]; they are read from disk when used.

    expected: sha256 (hex) of the file, from `pixels` in statistics.json. The check reads every byte
    once, at 1.8 GB a second on one core. DVC would not notice a changed byte, since it compares
    size and time only. None means no check, for a file that this process has just written.

    Raises UserError if the file is missing or has another sha256.
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
