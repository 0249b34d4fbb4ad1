"""A folder → its manifest: every file a row, nothing outside touched."""

import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.images import encode_png
from components.data.manifest import COLUMNS, build_manifest, pixels_id
from components.data.threads import in_threads
from components.errors import UserError
from components.params import Params


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return encode_png(pixels)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for number, name in enumerate(["cat/1.PNG", "cat/deep/er/2.png", "dog/3.jpg"]):
        (tmp_path / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / name).write_bytes(png(number))
    return tmp_path / "raw"


def row(manifest: pd.DataFrame, path: str) -> pd.Series:
    return manifest.set_index("path").loc[path]


def test_nested_files_of_any_case_get_the_top_folder_as_label(raw: Path, params: Params) -> None:
    manifest = build_manifest(raw, params.ingest)
    assert manifest["path"].tolist() == ["cat/1.PNG", "cat/deep/er/2.png", "dog/3.jpg"]
    assert manifest["label"].tolist() == ["cat", "cat", "dog"]
    assert list(manifest.columns) == list(COLUMNS)
    assert manifest["fault"].isna().all()


def test_a_mislabelled_extension_is_decoded_by_content(raw: Path, params: Params) -> None:
    assert row(build_manifest(raw, params.ingest), "dog/3.jpg")["format"] == "png"


def test_every_bad_file_is_a_row_with_a_fault(raw: Path, params: Params) -> None:
    (raw / "cat/empty.jpg").touch()
    (raw / "cat/page.png").write_text("<html></html>")
    (raw / "cat/cut.png").write_bytes(png(5)[:-30])
    (raw / "cat/link.png").symlink_to("/etc/hostname")
    (raw / "cat/linked.png").symlink_to(raw / "dog", target_is_directory=True)
    os.mkfifo(raw / "dog/pipe.png")
    manifest = build_manifest(raw, params.ingest)
    faults = manifest.set_index("path")["fault"].dropna().to_dict()
    assert faults == {
        "cat/cut.png": "truncated",
        "cat/empty.jpg": "empty_file",
        "cat/link.png": "symlink",
        "cat/linked.png": "symlink",
        "cat/page.png": "not_an_image",
        "dog/pipe.png": "not_a_file",
    }
    assert manifest["pixels_id"].notna().sum() == len(manifest) - len(faults)


def test_names_come_back_exactly(raw: Path, params: Params) -> None:
    names = ["-rf.png", "new\nline.png", "é.png", "e\u0301.png", "..png.png", "a" * 251 + ".png"]
    for name in names:
        (raw / "dog" / name).write_bytes(png(9))
    paths = set(build_manifest(raw, params.ingest)["path"])
    assert {f"dog/{name}" for name in names} <= paths


def test_a_name_that_is_not_utf8_is_a_fault(raw: Path, params: Params) -> None:
    Path(os.fsdecode(os.fsencode(raw) + b"/dog/\xff.png")).write_bytes(png(9))
    manifest = build_manifest(raw, params.ingest)
    assert row(manifest, r"dog/\udcff.png")["fault"] == "unreadable_name"


def test_other_files_are_counted_aloud(
    raw: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    (raw / "README.txt").touch()
    (raw / "cat/.DS_Store").touch()
    assert len(build_manifest(raw, params.ingest)) == 3
    assert "2 files ignored" in capsys.readouterr().out


def test_an_image_outside_of_class_folders_has_no_label(raw: Path, params: Params) -> None:
    (raw / "stray.png").write_bytes(png(7))
    assert row(build_manifest(raw, params.ingest), "stray.png")["label"] == ""


def test_pixels_id_ignores_the_file_and_knows_the_shape() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert pixels_id(pixels) == pixels_id(pixels.copy())
    assert pixels_id(pixels) != pixels_id(pixels.reshape(4, 2, 3))


@pytest.mark.parametrize(
    ("keep", "sentence"),
    [
        ([], "no class folder"),
        (["cat"], "two classes or more"),
    ],
)
def test_too_few_classes_end_in_one_sentence(
    raw: Path, params: Params, keep: list[str], sentence: str
) -> None:
    for folder in {"cat", "dog"} - set(keep):
        shutil.rmtree(raw / folder)
    with pytest.raises(UserError, match=sentence) as caught:
        build_manifest(raw, params.ingest)
    assert "\n" not in str(caught.value)


def test_missing_and_empty_folders_end_in_one_sentence(tmp_path: Path, params: Params) -> None:
    with pytest.raises(UserError, match="does not exist"):
        build_manifest(tmp_path / "raw", params.ingest)
    (tmp_path / "raw/cat").mkdir(parents=True)
    with pytest.raises(UserError, match="no image"):
        build_manifest(tmp_path / "raw", params.ingest)


def test_threads_keep_the_order_and_stop_at_an_error() -> None:
    assert list(in_threads(lambda x: x * x, range(50))) == [x * x for x in range(50)]
    begun: list[int] = []

    def fail_at_three(x: int) -> None:
        begun.append(x)
        time.sleep(0.01)
        if x == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(in_threads(fail_at_three, range(10_000)))
    assert len(begun) < 200
    assert threading.active_count() < 20
