"""Prepared rows and arrays → counts, mean and deviation of the pixels, ids by content."""

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
    """Return what later stages must know of the prepared images, as plain values.

    splits: all prepared rows. arrays: train, val and test → the file that prepare_images wrote.

    - mean, std: of the train split, for red, green and blue, from 0 to 1.
    - data_id: a hash of the images and their labels. split_id: of the images and their splits.
    - pixels: the sha256 of each array. What is computed from pixels, row by row, must be kept under
      this name, not under an id: the same images give other pixels with another background or
      decoder, and another order of rows if a file is renamed.
    """
    mean, std = channel_statistics(read_images(arrays["train"]))
    counts = pd.crosstab(splits["split"], splits["label"])
    return {
        "class_names": sorted(splits["label"].unique()),
        "size": prepare.size,
        "resize": prepare.resize,
        "counts": {
            split: {str(label): int(count) for label, count in counts.loc[split].items()}
            for split in SPLITS
        },
        "mean": mean,
        "std": std,
        "data_id": _content_id(splits["image_id"], splits["label"]),
        "split_id": _content_id(splits["image_id"], splits["split"]),
        "pixels": {split: sha256(path) for split, path in arrays.items()},
    }


def channel_statistics(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel of uint8 [N, H, W, 3], from 0 to 1.

    Pixel values are counted, so the result does not depend on the order of the images.

    >>> channel_statistics(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1).repeat(3, axis=3))
    ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
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
