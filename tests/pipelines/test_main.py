"""`python -m pipelines STAGE`: what is wrong with params.yaml is said before anything is read."""

import shutil
from pathlib import Path

from pipelines.__main__ import main
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
