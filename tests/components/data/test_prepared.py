"""Prepared arrays: right pixels in the right order, from the very files of the manifest."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.images import decode, resize
from components.data.manifest import build_manifest
from components.data.prepared import (
    channel_statistics,
    prepare_images,
    read_images,
    statistics,
)
from components.errors import UserError
from components.params import Params, Prepare

PREPARE = Prepare(size=16, resize="squash")


@pytest.fixture
def raw(digits_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits_folder, tmp_path / "raw"))


@pytest.fixture
def manifest(raw: Path, params: Params) -> pd.DataFrame:
    return build_manifest(raw, params.ingest)


def test_rows_and_pixels_are_in_the_same_order(
    raw: Path, manifest: pd.DataFrame, params: Params, tmp_path: Path
) -> None:
    rows = manifest.sample(frac=1, random_state=0)
    prepare_images(raw, rows, params.ingest, PREPARE, tmp_path / "all.npy")
    images = read_images(tmp_path / "all.npy")
    assert (images.shape, images.dtype) == ((200, 16, 16, 3), np.uint8)
    for index in (0, 57, 199):
        pixels = decode((raw / rows["path"].iloc[index]).read_bytes(), params.ingest).pixels
        assert np.array_equal(images[index], resize(pixels, 16, "squash"))


def test_a_second_time_gives_the_same_bytes(
    raw: Path, manifest: pd.DataFrame, params: Params, tmp_path: Path
) -> None:
    for name in ("one.npy", "two.npy"):
        prepare_images(raw, manifest, params.ingest, PREPARE, tmp_path / name)
    assert (tmp_path / "one.npy").read_bytes() == (tmp_path / "two.npy").read_bytes()


def test_no_rows_give_an_empty_array(
    raw: Path, manifest: pd.DataFrame, params: Params, tmp_path: Path
) -> None:
    prepare_images(raw, manifest.iloc[:0], params.ingest, PREPARE, tmp_path / "none.npy")
    assert read_images(tmp_path / "none.npy").shape == (0, 16, 16, 3)


def test_a_changed_file_is_named_and_leaves_the_old_array(
    raw: Path, manifest: pd.DataFrame, params: Params, tmp_path: Path
) -> None:
    prepare_images(raw, manifest, params.ingest, PREPARE, tmp_path / "all.npy")
    before = (tmp_path / "all.npy").read_bytes()
    first, second = (raw / path for path in manifest["path"].iloc[[3, 4]])
    first.write_bytes(second.read_bytes())
    with pytest.raises(UserError, match=f"{first.name} has changed"):
        prepare_images(raw, manifest, params.ingest, PREPARE, tmp_path / "all.npy")
    assert (tmp_path / "all.npy").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.npy", "raw"]


def test_a_missing_file_is_named(
    raw: Path, manifest: pd.DataFrame, params: Params, tmp_path: Path
) -> None:
    (raw / manifest["path"].iloc[3]).unlink()
    with pytest.raises(UserError, match=r"cannot read .*dvc checkout"):
        prepare_images(raw, manifest, params.ingest, PREPARE, tmp_path / "all.npy")


def test_a_full_disk_is_said_before_anything_is_written(
    raw: Path, manifest: pd.DataFrame, params: Params, tmp_path: Path
) -> None:
    many = pd.concat([manifest] * 1000, ignore_index=True)
    giant = Prepare(size=1024, resize="squash")  # 629 GB
    if shutil.disk_usage(tmp_path).free > 600e9:
        giant = Prepare.model_construct(size=100_000, resize="squash")
    with pytest.raises(UserError, match="bytes free"):
        prepare_images(raw, many, params.ingest, giant, tmp_path / "all.npy")


def test_channel_statistics_are_those_of_numpy() -> None:
    images = np.random.default_rng(0).integers(0, 256, (100, 7, 5, 3), dtype=np.uint8)
    mean, std = channel_statistics(images)
    assert np.allclose(mean, (images / 255).mean(axis=(0, 1, 2)))
    assert np.allclose(std, (images / 255).std(axis=(0, 1, 2)))


def test_ids_depend_on_content_alone(tmp_path: Path) -> None:
    splits = pd.DataFrame(
        {
            "path": ["1", "2", "3", "4"],
            "image_id": ["a", "b", "c", "d"],
            "label": ["cat", "dog", "cat", "dog"],
            "split": ["train", "val", "test", "train"],
        }
    )
    arrays = {side: tmp_path / side for side in ("train", "val", "test")}
    for path in arrays.values():
        with path.open("wb") as file:
            np.save(file, np.zeros((2, 2, 2, 3), np.uint8))
    tree = statistics(splits, arrays, PREPARE)
    renamed = splits.assign(path=["9", "8", "7", "6"]).sample(frac=1, random_state=1)
    assert statistics(renamed, arrays, PREPARE) == tree
    assert tree["class_names"] == ["cat", "dog"]
    assert tree["counts"]["val"] == {"cat": 0, "dog": 1}
    relabelled = statistics(splits.assign(label=["dog", "dog", "cat", "cat"]), arrays, PREPARE)
    assert relabelled["data_id"] != tree["data_id"]
    assert relabelled["split_id"] == tree["split_id"]


def test_pixels_are_named_by_their_values_and_their_order(
    raw: Path, manifest: pd.DataFrame, params: Params, tmp_path: Path
) -> None:
    splits = manifest.assign(split="train")
    splits.loc[:1, "split"] = ["val", "test"]

    def names(rows: pd.DataFrame, size: int = 16) -> str:
        prepare = Prepare(size=size, resize="squash")
        prepare_images(raw, rows, params.ingest, prepare, tmp_path / "a.npy")
        return str(statistics(splits, {"train": tmp_path / "a.npy"}, prepare)["pixels"]["train"])

    assert names(manifest) == names(manifest)
    assert len({names(manifest), names(manifest.iloc[::-1]), names(manifest, 17)}) == 3
