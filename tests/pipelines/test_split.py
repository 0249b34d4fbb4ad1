"""The stage `split`, from accepted images to sides."""

import re
from pathlib import Path

import pandas as pd
import pytest

from components.params import Params
from pipelines import artifacts
from tests.pipelines.stages import run_until, workspace


def test_split_gives_every_accepted_image_a_side_and_says_the_counts(
    digits_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    params: Params,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workspace(digits_folder, tmp_path, monkeypatch)
    run_until("split", params)
    accepted, splits = pd.read_parquet(artifacts.ACCEPTED), pd.read_parquet(artifacts.SPLITS)
    assert splits.drop(columns="split").equals(accepted)
    assert splits.groupby("label")["split"].nunique().tolist() == [3] * 10
    counts = splits["split"].value_counts()
    said = capsys.readouterr().out
    assert f"train {counts['train']} (" in said
    assert re.search(
        r"furthest from what was asked for: class \d, \w+ [\d.]+% \(\d+ of \d+\)", said
    )
