"""The same 14,000 pictures as one .npz and as PNG files: the same splits and the same pixels."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from components.images.png_writer import encode_png
from tests.cards import DIGITS
from tests.end_to_end.conftest import ROOT, edit_params, run

STAGES = ("ingest", "validate", "split", "prepare")


@pytest.mark.slow
def test_an_array_file_and_png_files_of_it_give_the_same_splits_and_pixels(
    shared: Path, tmp_path: Path
) -> None:
    packed, files = tmp_path / "packed", tmp_path / "files"
    (packed / "data/raw").mkdir(parents=True)
    arrays = np.load(shared / "datasets/fashion_mnist.npz")
    fifth = {name: arrays[name][: len(arrays[name]) // 5] for name in arrays}
    np.savez(packed / "data/raw/fashion_mnist.npz", **fifth)
    write_png(fifth, files / "data/raw")
    for folder in (packed, files):
        shutil.copy(DIGITS, folder / "params.yaml")
        edit_params(folder, {"split": {"given": "set_aside"}, "prepare": {"size": 28}})
        for stage in STAGES:
            run(folder, f"python -m pipelines {stage}", PYTHONPATH=str(ROOT))
    first, second = prepared(packed), prepared(files)
    assert len(first) > 13_800
    pd.testing.assert_frame_equal(first, second)


def write_png(arrays: Mapping[str, NDArray[np.uint8]], raw: Path) -> None:
    """Write train/<label>/<number>.png and test/…"""
    for side in ("train", "test"):
        pictures, labels = arrays[f"x_{side}"], arrays[f"y_{side}"]
        for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            file = raw / side / str(label) / f"{number:05}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encode_png(picture))


def prepared(folder: Path) -> pd.DataFrame:
    """Return side, label and a hash of the prepared pixels of every picture, sorted."""
    parts = []
    for side in ("train", "val", "test"):
        rows = pd.read_parquet(folder / f"data/prepare/{side}.parquet", columns=["label", "split"])
        images = np.load(folder / f"data/prepare/{side}.images.npy", mmap_mode="r")
        parts.append(rows.assign(pixels=[hashlib.sha256(i.tobytes()).hexdigest() for i in images]))
    return pd.concat(parts).sort_values(["pixels", "label", "split"], ignore_index=True)
