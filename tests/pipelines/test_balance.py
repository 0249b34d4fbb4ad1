"""The stage `balance`: a plan and its counts, from prepared rows."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from components.errors import UserError
from components.params.balance import Balance
from pipelines import artifacts, balance


def test_balance_writes_the_plan_and_the_counts_of_train_alone(
    prepared_digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(prepared_digits, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    balance.run(Balance(strategy="none", effective_number_beta=0.999, costs={}))
    said = capsys.readouterr().out
    assert re.search(r"none: an epoch uses all \d+ images once, \d+ (to \d+ )?of each class", said)
    balance.run(Balance(strategy="oversample", effective_number_beta=0.999, costs={}))
    said = capsys.readouterr().out
    assert "images of each class → images that an epoch uses: 0 " in said
    tree = json.loads(artifacts.PLAN.read_text())
    train = pd.read_parquet(artifacts.rows("train"))["label"].value_counts().to_dict()
    assert tree["counts"] == {label: train[label] for label in tree["class_names"]}
    assert set(tree["targets"].values()) == {max(train.values())}
    counts = pd.read_csv(artifacts.COUNTS)
    assert counts.columns.tolist() == ["class", "before", "after"]
    assert counts["after"].sum() == 10 * max(train.values())


def test_costs_are_in_the_plan_and_unknown_classes_stop_before_any_training(
    prepared_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(prepared_digits, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    costs = {"3": {"8": 5.0}}
    balance.run(Balance(strategy="none", effective_number_beta=0.999, costs=costs))
    assert json.loads(artifacts.PLAN.read_text())["costs"] == costs
    artifacts.PLAN.unlink()
    with pytest.raises(UserError, match=r"^balance\.costs: choose among .* Received: eight$"):
        costs = {"3": {"eight": 5.0}}
        balance.run(Balance(strategy="none", effective_number_beta=0.999, costs=costs))
    assert not artifacts.PLAN.exists()
