"""data/raw → its manifest: every picture a row, nothing outside touched."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow

from components.errors import UserError
from components.images.png_writer import encode_png
from components.manifest.rows import pixels_id
from components.manifest.table import COLUMNS, as_manifest, build_manifest
from components.params.ingest import Ingest
from components.params.reader import Params


def png(seed: int, side: int = 20) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return encode_png(pixels)


@pytest.fixture
def ingest(params: Params) -> Ingest:
    return params.ingest


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for number, name in enumerate(["cat/1.PNG", "cat/deep/er/2.png", "dog/3.jpg"]):
        (tmp_path / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / name).write_bytes(png(number))
    return tmp_path / "raw"


def row(manifest: pd.DataFrame, path: str) -> pd.Series:
    return manifest.set_index("path").loc[path]


def test_nested_files_of_any_case_get_the_top_folder_as_label(raw: Path, ingest: Ingest) -> None:
    manifest = build_manifest(raw, ingest)
    assert manifest["path"].tolist() == ["cat/1.PNG", "cat/deep/er/2.png", "dog/3.jpg"]
    assert manifest["label"].tolist() == ["cat", "cat", "dog"]
    assert manifest["fault"].isna().all()


def test_a_good_row_has_every_fact_and_a_bad_one_says_what_it_can(
    raw: Path, ingest: Ingest
) -> None:
    (raw / "dog/empty.png").touch()
    manifest = build_manifest(raw, ingest)
    assert list(manifest.columns) == list(COLUMNS)
    assert manifest.dtypes.equals(as_manifest([]).dtypes)
    absent = ["group", "given_split", "fault"]
    assert row(manifest, "dog/3.jpg").drop(absent).notna().all()
    known = row(manifest, "dog/empty.png").dropna()
    assert set(known.index) == {"label", "image_id", "bytes", "fault"}


def test_a_mislabelled_extension_is_decoded_by_content(raw: Path, ingest: Ingest) -> None:
    assert row(build_manifest(raw, ingest), "dog/3.jpg")["format"] == "png"


def test_every_bad_file_is_a_row_with_a_fault(raw: Path, ingest: Ingest) -> None:
    (raw / "cat/empty.jpg").touch()
    (raw / "cat/page.png").write_text("<html></html>")
    (raw / "cat/cut.png").write_bytes(png(5)[:-30])
    (raw / "cat/link.png").symlink_to("/etc/hostname")
    (raw / "cat/linked.png").symlink_to(raw / "dog", target_is_directory=True)
    (raw / "dog/more").symlink_to(raw / "cat", target_is_directory=True)
    os.mkfifo(raw / "dog/pipe.png")
    with (raw / "dog/big.png").open("wb") as file:
        file.truncate(ingest.decode.max_bytes + 1)
    manifest = build_manifest(raw, ingest)
    faults = manifest.set_index("path")["fault"].dropna().to_dict()
    assert faults == {
        "cat/cut.png": "truncated",
        "cat/empty.jpg": "empty_file",
        "cat/link.png": "symlink",
        "cat/linked.png": "symlink",
        "cat/page.png": "not_an_image",
        "dog/big.png": "too_many_bytes",
        "dog/more": "symlink",
        "dog/pipe.png": "not_a_file",
    }
    assert manifest["pixels_id"].notna().sum() == len(manifest) - len(faults)


def test_names_come_back_exactly_through_every_file(
    raw: Path, ingest: Ingest, tmp_path: Path
) -> None:
    names = ["-rf.png", "new\nline.png", "é.png", "e\u0301.png", "a" * 251 + ".png"]
    names += ['q"uo,te.png', "\r.png", " .png", "back\\slash.png"]
    for name in names:
        (raw / "dog" / name).write_bytes(png(9))
    manifest = build_manifest(raw, ingest)
    wanted = {*(f"dog/{name}" for name in names), "dog/3.jpg"}
    manifest.to_parquet(tmp_path / "m.parquet", index=False)
    manifest[["path", "label"]].to_csv(tmp_path / "m.csv", index=False, quoting=csv.QUOTE_ALL)
    for back in (pd.read_parquet(tmp_path / "m.parquet"), pd.read_csv(tmp_path / "m.csv")):
        assert set(back.loc[back["label"] == "dog", "path"]) == wanted
    shutil.rmtree(raw)
    for path in manifest["path"]:
        (raw / path).parent.mkdir(parents=True, exist_ok=True)
        (raw / path).write_bytes(png(9))
    shutil.copy(tmp_path / "m.csv", raw / "labels.csv")
    set_to = ingest.source.model_copy(update={"kind": "table"})
    again = build_manifest(raw, ingest.model_copy(update={"source": set_to}))
    assert again["path"].tolist() == manifest["path"].tolist()
    assert again["fault"].isna().all()


def test_a_name_that_is_not_utf8_is_a_fault(raw: Path, ingest: Ingest) -> None:
    for name in (b"/dog/\xff.png", b"/f\xf6x/1.png"):
        path = Path(os.fsdecode(os.fsencode(raw) + name))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(9))
    manifest = build_manifest(raw, ingest)
    assert row(manifest, r"dog/\udcff.png")["fault"] == "unreadable_name"
    fox = row(manifest, r"f\udcf6x/1.png")
    assert (fox["label"], fox["fault"]) == (r"f\udcf6x", "unreadable_name")


def test_what_was_found_and_what_was_not_is_logged(
    raw: Path, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    (raw / "README.txt").touch()
    (raw / "cat/.DS_Store").touch()
    assert len(build_manifest(raw, ingest)) == 3
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "class folders (3 images, 2 classes)"
    assert "1 file is no picture of the source, so ignored" in printed[1]
    assert "1 file is left out" in printed[2]


def test_an_image_outside_of_class_folders_has_no_label(raw: Path, ingest: Ingest) -> None:
    (raw / "stray.png").write_bytes(png(7))
    assert row(build_manifest(raw, ingest), "stray.png")["label"] == ""


def table_of(raw: Path, header: str, *lines: str) -> Path:
    """Make `raw` the folder of a table: its images in one folder, and so many rows."""
    (raw / "labels.csv").write_text("\n".join([header, *lines, ""]))
    (raw / "dog").rename(raw / "cat/dog")
    return raw


def test_a_table_gives_labels_groups_splits_and_more(raw: Path, ingest: Ingest) -> None:
    table_of(
        raw,
        "path,label,group,split,camera,shelf",
        "cat/dog/3.jpg,a,g,train,,7",
        "cat/1.PNG,b,,,x,",
        "cat/gone.png,a,,test,x,",
        "../raw/cat/1.PNG,a,,,,",
    )
    manifest = build_manifest(raw, ingest)
    assert list(manifest.columns) == [*COLUMNS, "camera", "shelf"]
    columns = manifest.set_index("path")[
        ["label", "group", "given_split", "camera", "shelf", "fault"]
    ]
    assert columns.fillna("-").to_dict("index") == {
        "../raw/cat/1.PNG": dict(zip(columns, "a-----", strict=True)) | {"fault": "outside"},
        "cat/1.PNG": dict(zip(columns, "b--x--", strict=True)),
        "cat/dog/3.jpg": dict(zip(columns, ["a", "g", "train", "-", "7", "-"], strict=True)),
        "cat/gone.png": dict(zip(columns, ["a", "-", "test", "x", "-", "missing"], strict=True)),
    }


@pytest.mark.parametrize("name", ["image_id", "fingerprint", "fault", "fold", "reason"])
def test_a_column_that_the_manifest_needs_is_refused(name: str, raw: Path, ingest: Ingest) -> None:
    table_of(raw, f"path,label,{name}", "cat/dog/3.jpg,a,1", "cat/1.PNG,b,2")
    with pytest.raises(UserError, match=f"names that the manifest reserves.*Received: {name}"):
        build_manifest(raw, ingest)


def test_arrays_and_files_of_the_same_pictures_have_the_same_pixels_and_facts(
    tmp_path: Path, ingest: Ingest
) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (10, 20, 24), dtype=np.uint8)
    labels = np.arange(10) % 2
    (tmp_path / "arrays").mkdir()
    np.savez_compressed(tmp_path / "arrays/data.npz", images=pictures, labels=labels)
    for number, picture in enumerate(pictures):
        (tmp_path / f"files/{labels[number]}").mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(picture).save(tmp_path / f"files/{labels[number]}/{number}.png")
    arrays = build_manifest(tmp_path / "arrays", ingest).set_index("pixels_id")
    files = build_manifest(tmp_path / "files", ingest).set_index("pixels_id")
    assert len(arrays) == 10
    same = ["label", "width", "height", "brightness", "sharpness", "aspect", "fingerprint"]
    assert arrays[same].sort_index().equals(files[same].sort_index())
    assert set(arrays["format"]) == {"npy"}


def test_pixels_id_ignores_the_file_and_knows_the_shape() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert pixels_id(pixels) == pixels_id(pixels.copy())
    assert pixels_id(pixels) != pixels_id(pixels.reshape(4, 2, 3))
    mirrored = pixels[:, ::-1]
    assert pixels_id(mirrored) == pixels_id(mirrored.copy())


def test_missing_folders_end_in_one_sentence(tmp_path: Path, ingest: Ingest) -> None:
    with pytest.raises(UserError, match="does not exist"):
        build_manifest(tmp_path / "raw", ingest)
