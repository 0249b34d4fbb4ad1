"""The stage `prepare`, and the whole data part twice."""

import json
from pathlib import Path

import pandas as pd
import pytest

from components.data.prepared import read_images
from components.data.splits import SIDES
from components.params import Params
from pipelines import artifacts
from tests.pipelines.stages import run_until, sums, workspace


def test_prepare_writes_pixels_and_rows_of_every_side(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params
) -> None:
    workspace(digits_folder, tmp_path, monkeypatch)
    run_until("prepare", params)
    tree = json.loads(artifacts.STATISTICS.read_text())
    assert tree["class_names"] == list("0123456789")
    for side in SIDES:
        rows, images = pd.read_parquet(artifacts.rows(side)), read_images(artifacts.images(side))
        assert len(rows) == len(images) == sum(tree["counts"][side].values())
        assert (rows["split"] == side).all()
        assert [tree["class_names"][index] for index in rows["label_index"]] == list(rows["label"])


def test_a_second_run_writes_the_same_bytes(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params
) -> None:
    workspace(digits_folder, tmp_path, monkeypatch)
    run_until("prepare", params)
    first = sums(Path("data"))
    run_until("prepare", params)
    assert sums(Path("data")) == first
