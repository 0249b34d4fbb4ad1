"""The stage `prepare`, and the whole data part twice."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image as Pillow

from components.files import sha256
from components.params.reader import Params
from components.params.split import SPLITS
from components.training_set.pixels import read_images
from pipelines import artifacts, prepare
from tests.pipelines.stages import run_until, sums, workspace


def test_prepare_writes_pixels_and_rows_of_every_split(
    prepared_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params
) -> None:
    shutil.copytree(prepared_digits, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    tree = json.loads(artifacts.STATISTICS.read_text())
    assert tree["class_names"] == list("0123456789")
    for split in SPLITS:
        rows, images = pd.read_parquet(artifacts.rows(split)), read_images(artifacts.images(split))
        assert len(rows) == len(images) == sum(tree["counts"][split].values())
        assert (rows["split"] == split).all()
        assert tree["pixels"][split] == sha256(artifacts.images(split))
        assert [tree["class_names"][index] for index in rows["label_index"]] == list(rows["label"])
    assert tree["decode"] == params.ingest.decode.pixel_rules()
    # Another rule for 16 bits changes no image of 8 bits, but the model must know the rule.
    decode = params.ingest.decode.with_sixteen_bit("stretch")
    prepare.run(params.ingest.model_copy(update={"decode": decode}), params.prepare)
    rules = {"sixteen_bit": "stretch", "decode": decode.pixel_rules()}
    assert json.loads(artifacts.STATISTICS.read_text()) == tree | rules


def test_further_columns_of_a_table_come_through_unharmed(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params
) -> None:
    workspace(digits_folder, tmp_path, monkeypatch)
    shutil.move(artifacts.RAW, tmp_path / "images")
    shutil.move(tmp_path / "images", artifacts.RAW / "images")
    paths = sorted(path.relative_to(artifacts.RAW).as_posix() for path in Path().rglob("*.png"))
    notes = [None, 'a "quoted", é note', "007", "two\nlines"]
    table = pd.DataFrame(
        {
            "path": paths,
            "label": [path.split("/")[1] for path in paths],
            "note": [notes[number % 4] for number in range(len(paths))],
            "shelf": [str(number) if number % 3 else None for number in range(len(paths))],
        }
    )
    table.sample(frac=1, random_state=0).to_csv(artifacts.RAW / "labels.csv", index=False)
    run_until("prepare", params)
    splits = pd.read_parquet(artifacts.SPLITS)
    prepared_rows = pd.concat(pd.read_parquet(artifacts.rows(split)) for split in SPLITS)
    for rows in (splits, prepared_rows):
        assert len(rows) == len(paths)
        merged = rows.merge(table, on="path", suffixes=("", "_given"))
        for name in ("label", "note", "shelf"):
            assert merged[name].equals(merged[f"{name}_given"].astype(merged[name].dtype)), name


def test_another_background_gives_other_names_to_the_pixels_alone(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params
) -> None:
    workspace(digits_folder, tmp_path, monkeypatch)
    for path in artifacts.RAW.rglob("*.png"):
        image = Pillow.open(path)
        image.putalpha(100)
        image.save(path)
    run_until("prepare", params)
    white = json.loads(artifacts.STATISTICS.read_text())
    decode = params.ingest.decode.model_copy(update={"background": (0, 0, 0)})
    ingest = params.ingest.model_copy(update={"decode": decode})
    prepare.run(ingest, params.prepare)
    black = json.loads(artifacts.STATISTICS.read_text())
    assert all(white["pixels"][split] != black["pixels"][split] for split in SPLITS)
    for name in ("data_id", "split_id", "counts"):
        assert white[name] == black[name]


def test_a_second_run_writes_the_same_bytes(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params
) -> None:
    workspace(digits_folder, tmp_path, monkeypatch)
    run_until("prepare", params)
    first = sums(Path("data"))
    run_until("prepare", params)
    assert sums(Path("data")) == first
