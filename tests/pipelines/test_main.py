"""`python -m pipelines STAGE`: what is wrong with params.yaml is said before anything is read."""

import shutil
from pathlib import Path

import pandas as pd

from pipelines import artifacts
from pipelines.__main__ import main
from pipelines.formats import write_table
from pipelines.workspace.params_text import with_value
from tests.cards import DIGITS


def test_transforms_are_checked_before_weights_that_may_have_to_be_downloaded(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(DIGITS, "params.yaml")
    file = Path("params.yaml")
    text = with_value(file.read_text(), ["model", "weights"], "data/weights/missing.keras")
    lines = text.splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if line.startswith("  augmentation:"))
    end = next(n for n, line in enumerate(lines) if line.startswith("search:"))
    file.write_text("".join([*lines[:first], "  augmentation: [Flp]\n", *lines[end:]]))
    assert main(["ingest"]) == 1
    assert "train.augmentation, entry 1: albumentations has no such" in capsys.readouterr().err
    file.write_text(file.read_text().replace("[Flp]", "[Transpose]"))
    assert main(["ingest"]) == 1
    assert "missing.keras" in capsys.readouterr().err


def test_a_slice_column_that_is_not_there_is_said_before_an_hour_of_training(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(DIGITS.read_text().replace("slices: []", "slices: [kamera]"))
    artifacts.rows("test").parent.mkdir(parents=True)
    write_table(artifacts.rows("test"), pd.DataFrame({"camera": ["phone", "reflex"]}))
    for stage in ("search", "train"):
        assert main([stage]) == 1
        said = capsys.readouterr().err
        assert (
            "evaluate.slices: the table of images has no such column; choose among camera" in said
        )
