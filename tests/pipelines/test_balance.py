"""The stage `balance`: a plan and its counts, from prepared rows."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from components.params.balance import Balance
from components.params.reader import Params
from pipelines import artifacts, balance
from tests.pipelines.stages import run_until, workspace


def test_balance_writes_the_plan_and_the_counts_of_train_alone(
    digits_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    params: Params,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workspace(digits_folder, tmp_path, monkeypatch)
    run_until("prepare", params)
    balance.run(Balance(strategy="none"))
    said = capsys.readouterr().out
    assert re.search(r"none: an epoch uses all \d+ images once, \d+ (to \d+ )?of each class", said)
    balance.run(Balance(strategy="oversample"))
    said = capsys.readouterr().out
    assert "images of each class → images that an epoch uses: 0 " in said
    tree = json.loads(artifacts.PLAN.read_text())
    train = pd.read_parquet(artifacts.rows("train"))["label"].value_counts().to_dict()
    assert tree["counts"] == {label: train[label] for label in tree["class_names"]}
    assert set(tree["targets"].values()) == {max(train.values())}
    counts = pd.read_csv(artifacts.COUNTS)
    assert counts.columns.tolist() == ["class", "before", "after"]
    assert counts["after"].sum() == 10 * max(train.values())
