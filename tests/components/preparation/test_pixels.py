"""Prepared arrays: right pixels in the right order, from the very files of the manifest."""

import io
import os
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow

from components.errors import UserError
from components.files import sha256
from components.images.decoder import decode, resize
from components.manifest.table import build_manifest
from components.params.prepare import Prepare
from components.params.reader import Params
from components.preparation.pixels import prepare_images
from components.preparation.statistics import channel_statistics, statistics
from components.training_set.pixels import read_images
from tests.pipelines.versioned import flip

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
        pixels = decode((raw / rows["path"].iloc[index]).read_bytes(), params.ingest.decode).pixels
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


def test_an_array_with_a_flipped_byte_is_not_opened(
    raw: Path, manifest: pd.DataFrame, params: Params, tmp_path: Path
) -> None:
    path = tmp_path / "all.npy"
    prepare_images(raw, manifest, params.ingest, PREPARE, path)
    expected = sha256(path)
    assert len(read_images(path, expected)) == len(manifest)
    flip(path)
    with pytest.raises(UserError, match=r"all\.npy is not the file.*dvc repro -f prepare.*sha256"):
        read_images(path, expected)
    path.unlink()
    with pytest.raises(UserError, match="is missing"):
        read_images(path, expected)


def test_a_changed_file_is_named_and_leaves_the_old_array(
    raw: Path, manifest: pd.DataFrame, params: Params, tmp_path: Path
) -> None:
    prepare_images(raw, manifest, params.ingest, PREPARE, tmp_path / "all.npy")
    before = (tmp_path / "all.npy").read_bytes()
    first, second = (raw / path for path in manifest["path"].iloc[[3, 4]])
    first.write_bytes(second.read_bytes())
    with pytest.raises(UserError, match=f"{first.name} has changed.*fovea data verify"):
        prepare_images(raw, manifest, params.ingest, PREPARE, tmp_path / "all.npy")
    assert (tmp_path / "all.npy").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.npy", "raw"]


def test_a_flipped_bit_is_found_though_size_and_time_are_kept(
    raw: Path, manifest: pd.DataFrame, params: Params, tmp_path: Path
) -> None:
    path = raw / manifest["path"].iloc[7]
    data, before = bytearray(path.read_bytes()), path.stat()
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(UserError, match=path.name):
        prepare_images(raw, manifest, params.ingest, PREPARE, tmp_path / "all.npy")


@pytest.mark.parametrize("how", ["gone", "link"])
def test_a_missing_file_is_named(
    how: str, raw: Path, manifest: pd.DataFrame, params: Params, tmp_path: Path
) -> None:
    path = raw / manifest["path"].iloc[3]
    path.rename(tmp_path / "elsewhere")
    if how == "link":
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"cannot read .*dvc checkout"):
        prepare_images(raw, manifest, params.ingest, PREPARE, tmp_path / "all.npy")


def test_pictures_of_an_array_are_prepared_as_they_are(params: Params, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), dtype=np.uint8)
    (tmp_path / "raw").mkdir()
    np.savez_compressed(tmp_path / "raw/data.npz", x=pictures, y=np.arange(30) % 2)
    rows = build_manifest(tmp_path / "raw", params.ingest)
    prepare_images(tmp_path / "raw", rows, params.ingest, PREPARE, tmp_path / "all.npy")
    assert np.array_equal(read_images(tmp_path / "all.npy"), pictures)


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
    arrays = {split: tmp_path / split for split in ("train", "val", "test")}
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


def varied_file(number: int) -> bytes:
    """A picture of noise and slopes, in another format, mode and orientation for every number."""
    dice = np.random.default_rng(number)
    height, width = dice.integers(20, 60, 2).tolist()
    slopes = np.add.outer(np.arange(height) * 3, np.arange(width) * 2)[..., None] * [1, 2, 3]
    noise = dice.integers(0, 40, (height, width, 3))
    image = Pillow.fromarray(((slopes + noise) % 256).astype(np.uint8))
    kind, mode, options = FORMS[number % len(FORMS)]
    if mode == "I;16":
        image = Pillow.fromarray(dice.integers(0, 2**16, (height, width), dtype=np.uint16))
    elif mode.endswith("A"):
        image.putalpha(Pillow.fromarray(dice.integers(0, 256, (height, width), dtype=np.uint8)))
    image = image if mode == "I;16" else image.convert(mode)
    exif = Pillow.Exif()
    exif[0x0112] = 1 + number // len(FORMS) % 8
    turned = {} if kind == "BMP" else {"exif": exif}
    file = io.BytesIO()
    image.save(file, format=kind, **options, **turned)
    return file.getvalue()


FORMS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("JPEG", "RGB", {"quality": 90}),
    ("JPEG", "RGB", {"quality": 50, "subsampling": 2, "progressive": True}),
    ("JPEG", "L", {}),
    ("JPEG", "CMYK", {}),
    ("PNG", "RGB", {}),
    ("PNG", "RGBA", {}),
    ("PNG", "LA", {}),
    ("PNG", "P", {}),
    ("PNG", "1", {}),
    ("PNG", "I;16", {}),
    ("WEBP", "RGB", {"quality": 80}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("BMP", "RGB", {}),
)


@pytest.mark.parametrize("how", ["squash", "crop", "pad"])
def test_training_contest_and_service_see_the_same_pixels_of_500_images(
    how: Literal["squash", "crop", "pad"], params: Params, tmp_path: Path
) -> None:
    raw, prepare = tmp_path / "raw", Prepare(size=32, resize=how)
    for number in range(500):
        (raw / str(number % 5)).mkdir(parents=True, exist_ok=True)
        (raw / f"{number % 5}/{number}.img.png").write_bytes(varied_file(number))
    rows = build_manifest(raw, params.ingest, tmp_path / "state")
    assert rows["fault"].isna().all()
    assert rows["format"].nunique() == 4
    # Training and evaluation read what prepare has written, in the order of its rows.
    prepare_images(raw, rows, params.ingest, prepare, tmp_path / "all.npy")
    trained_on = read_images(tmp_path / "all.npy")
    # A contest prepares the test images again, in the order of the predictions.
    order = np.random.default_rng(0).permutation(500)
    prepare_images(raw, rows.iloc[order], params.ingest, prepare, tmp_path / "contest.npy")
    contested = read_images(tmp_path / "contest.npy")
    # A service has the bytes of a file, and no manifest.
    differing = []
    for place, number in enumerate(order):
        data = (raw / rows["path"].iloc[number]).read_bytes()
        served = resize(decode(data, params.ingest.decode).pixels, 32, how)
        three = {pixels.tobytes() for pixels in (trained_on[number], contested[place], served)}
        differing += [rows["path"].iloc[number]] if len(three) > 1 else []
    assert differing == []
