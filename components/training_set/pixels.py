"""The array file that the stage `prepare` wrote for a split → its pixels, as a memory map."""

from pathlib import Path
from typing import Any

import numpy as np

from components.errors import UserError
from components.files import sha256


def read_images(path: Path, expected: str | None = None) -> "np.memmap[Any, np.dtype[np.uint8]]":
    """Return the pixels of a split, uint8 [N, size, size, 3]. Each pixel is read when it is used.

    path: the path of the array file. expected: the sha256 (hex) that the file must have; the stage
    `prepare` writes it to statistics.json. If `expected` is None, the file is not checked. Use None
    only for a file that this process has just written.

    The check is needed because DVC compares only the size and the modification time of the file,
    so DVC may not notice a changed byte. The check reads the whole file, at 1.8 GB per second on
    one core.

    Raises UserError if the file is missing or its sha256 is not `expected`.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; run `dvc repro prepare` first. Received: no such file")
    actual = None if expected is None else sha256(path)
    if actual != expected:
        raise UserError(
            f"{path} is not the file that `prepare` wrote, or is damaged; restore it with `fovea "
            f"data verify --heal` or `dvc checkout`, or write it again with `dvc repro -f "
            f"prepare`. Received: sha256 {actual} instead of {expected}"
        )
    images: np.memmap[Any, np.dtype[np.uint8]] = np.load(path, mmap_mode="r")
    return images
