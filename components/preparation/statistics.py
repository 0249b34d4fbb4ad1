"""Prepared rows and arrays → what later stages must know of them, by content."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.files import sha256
from components.params.prepare import Prepare
from components.params.split import SPLITS
from components.training_set.pixels import read_images

CHUNK = 64  # images in memory at a time when counting pixel values


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
            for side in SPLITS
        },
        "mean": mean,
        "std": std,
        "data_id": _content_id(splits["image_id"], splits["label"]),
        "split_id": _content_id(splits["image_id"], splits["split"]),
        "pixels": {side: sha256(path) for side, path in arrays.items()},
    }


def channel_statistics(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
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


def _content_id(*columns: Iterable[str]) -> str:
    pairs = sorted(zip(*columns, strict=True))
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()
