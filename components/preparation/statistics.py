"""Rows and arrays of the prepared images → class counts, pixel mean and deviation, hashes."""

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

CHUNK = 64  # number of images that are in memory at the same time


def statistics(
    splits: pd.DataFrame, arrays: Mapping[str, Path], prepare: Prepare
) -> dict[str, Any]:
    """Return the facts about the prepared images that later stages need, as values for JSON.

    splits: a table of all prepared rows, with the columns label, split and image_id (the sha256 of
    the image file). arrays: split → the path of its array file, which `prepare_images` wrote. The
    keys of the result:

    - class_names: the sorted list of the labels.
    - size, resize: the values of the params `prepare.size` and `prepare.resize`.
    - counts: split → class → number of images.
    - mean, std: the mean and the standard deviation of the pixels of the train split. Each is a
      list of three floats, for red, green and blue. The pixel values are first divided by 255.
    - data_id: a sha256 (hex) of the image_id and the label of all images.
    - split_id: a sha256 (hex) of the image_id and the split of all images.
    - pixels: split → the sha256 (hex) of its array file.

    Later stages store results for the rows of an array, such as the features of each image. The
    name of the file with these results must depend on `pixels`. Otherwise a stage could use results
    that were computed from an older array. The hashes data_id and split_id are not enough, because
    they stay the same after two kinds of changes. First, a new version of the decoder may change
    the pixels, but it does not change the image_id. Second, renaming an image file may change the
    order of the rows, which are sorted by path, but it does not change the image_id.
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
    """Return the mean and the standard deviation of each channel, after division by 255.

    images: uint8 [N, H, W, 3], the images. The function counts how often each pixel value occurs.
    So the result does not depend on the order of the images.

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
