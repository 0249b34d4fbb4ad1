"""manifest rows, raw images → one uint8 array on disk in the same order, read as a memory map.

Every image is decoded once, here, and never again in training or evaluation. Its bytes are held
against the manifest before they are used, so what is trained on is what the manifest says. Memory
holds a few images at a time, however many there are.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.data.images.decoder import Pixels, decode, resize
from components.data.images.formats import Fault
from components.data.parallel import in_threads
from components.data.sources.source import read_bytes
from components.errors import UserError
from components.files import sha256, written_whole
from components.params import Ingest, Prepare
from components.progress import track

CHUNK = 64  # images in memory at a time when counting pixel values


def prepare_images(
    root: Path, rows: pd.DataFrame, ingest: Ingest, prepare: Prepare, destination: Path
) -> None:
    """Write `destination`, a .npy file of uint8 [len(rows), size, size, 3], in the order of `rows`.

    rows: columns path (below `root`) and image_id. Any size and way of resizing may be asked for,
    so a model trained at another size can be given the very same images.

    Raises UserError where a file is missing, is not the one that the manifest describes, or where
    the disk has no room.
    """
    shape = (len(rows), prepare.size, prepare.size, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    destination.parent.mkdir(parents=True, exist_ok=True)
    _check_room(destination, int(np.prod(shape)))
    pairs = zip(rows["path"], rows["image_id"], strict=True)
    prepared = in_threads(partial(_prepared, root, ingest, prepare), pairs)
    shown = track(prepared, f"prepare: {destination.name}", total=len(rows))
    # Written in order, not through a memory map: a map that outgrows its disk kills the process.
    with written_whole(destination) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for pixels in shown:
            file.write(pixels.tobytes())
        file.flush()


def read_images(path: Path, expected: str | None = None) -> "np.memmap[Any, np.dtype[np.uint8]]":
    """Return the pixels of a split, uint8 [N, size, size, 3], read from disk where touched.

    expected: sha256 of the file, from `pixels` in statistics.json. DVC goes by size and time, and
    does not see a flipped byte; this reads every byte once, at 1.8 GB a second on one core. None
    is for a file that this process has just written.

    Raises UserError where the file is missing or is another one.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; run `dvc repro prepare` first. Received: no such file")
    found = None if expected is None else sha256(path)
    if found != expected:
        raise UserError(
            f"{path} is not the file that `prepare` wrote, or is damaged; bring it back (`fovea "
            f"data verify --heal`, `dvc checkout`), else make it anew (`dvc repro -f prepare`). "
            f"Received: sha256 {found} instead of {expected}"
        )
    images: np.memmap[Any, np.dtype[np.uint8]] = np.load(path, mmap_mode="r")
    return images


def statistics(
    splits: pd.DataFrame, arrays: Mapping[str, Path], prepare: Prepare
) -> dict[str, Any]:
    """Return what later stages must know of the prepared images, as a tree of plain values.

    splits: all prepared rows. arrays: train, val and test → the file that prepare_images wrote.
    mean and std are of the train split, for red, green and blue on the scale 0–1. data_id and
    split_id name the labelled images, and the way they were split, by content.

    pixels names the arrays themselves (sha256 of each file). The ids do not: the same images give
    other pixels under another background or decoder, and stand in another order after a file was
    renamed. What is computed from pixels, row by row, can be kept under these names alone.
    """
    mean, std = channel_statistics(read_images(arrays["train"]))
    counts = pd.crosstab(splits["split"], splits["label"])
    return {
        "class_names": sorted(splits["label"].unique()),
        "size": prepare.size,
        "resize": prepare.resize,
        "counts": {
            side: {str(label): int(count) for label, count in counts.loc[side].items()}
            for side in ("train", "val", "test")
        },
        "mean": mean,
        "std": std,
        "data_id": _content_id(splits["image_id"], splits["label"]),
        "split_id": _content_id(splits["image_id"], splits["split"]),
        "pixels": {side: sha256(path) for side, path in arrays.items()},
    }


def channel_statistics(images: Pixels) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel of uint8 [N, H, W, 3], on the scale 0–1.

    Counted as whole numbers, so the result does not depend on the order of the images.
    """
    histogram: NDArray[np.int64] = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK]
        for channel in range(3):
            histogram[channel] += np.bincount(chunk[..., channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    shares = histogram / histogram.sum(axis=1, keepdims=True)
    mean = shares @ values
    deviation = np.sqrt((shares * (values - mean[:, None]) ** 2).sum(axis=1))
    return mean.tolist(), deviation.tolist()


def _prepared(root: Path, ingest: Ingest, prepare: Prepare, row: tuple[str, str]) -> Pixels:
    path, image_id = row
    try:
        data = read_bytes(root, path, ingest.decode.max_bytes)
    except Fault as fault:
        raise UserError(
            f"cannot read {root / path}, which the manifest lists; bring it back (`dvc checkout`) "
            f"or run `dvc repro` again. Received: {fault.text}"
        ) from None
    found = hashlib.sha256(data).hexdigest()
    if found != image_id:
        raise UserError(
            f"{root / path} is not the file that was checked; if it was meant to change run `dvc "
            f"repro`, else find and mend it with `fovea data verify --heal`. Received: sha256 "
            f"{found[:12]}… instead of {image_id[:12]}…"
        )
    try:
        return resize(decode(data, ingest.decode).pixels, prepare.size, prepare.resize)
    except Fault as fault:
        raise UserError(
            f"cannot decode {root / path}; run `dvc repro` again. Received: {fault.text}"
        ) from None


def _check_room(destination: Path, needed: int) -> None:
    free = shutil.disk_usage(destination.parent).free
    if needed > free:
        raise UserError(
            f"{destination} needs {needed:,} bytes; free some disk, or lower prepare.size. "
            f"Received: {free:,} bytes free"
        )


def _content_id(*columns: Iterable[str]) -> str:
    pairs = sorted(zip(*columns, strict=True))
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()
