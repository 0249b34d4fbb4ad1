"""One worker process of a search: which machines it refuses, and how it ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import UserError
from components.params.hyperparameters import Hyperparameters
from components.params.reader import read_params
from components.search.tasks import Task
from pipelines.search_worker import Trainer, check_machine, epoch_number, search_machine
from pipelines.workspace import training_key
from pipelines.workspace.searches import PLAN
from tests.cards import DIGITS


@pytest.mark.parametrize(
    ("epochs", "numbers"), [(None, [-4, 0, 1]), (2, [-4, 0, 1]), (0, [1, 5, 1])]
)
def test_fine_tuning_begins_with_epoch_1_whatever_the_length_of_the_head(epochs, numbers):
    params = read_params(DIGITS)
    written = Hyperparameters(model=params.model, train=params.train)
    hyperparameters = written.with_overrides({"train.head.epochs": 5})
    rows = [("head", 1), ("head", 5), ("finetune", 1)]
    assert numbers == [
        epoch_number({"phase": phase, "epoch": epoch}, Task(0, {}, epochs), hyperparameters)
        for phase, epoch in rows
    ]


def test_a_machine_like_that_of_the_search_may_work():
    check_machine(search_machine())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("package numpy", "1.0"),
        ("package optuna", "1.0"),
        ("KERAS_BACKEND", "jax"),
        ("NVIDIA_TF32_OVERRIDE", "0"),
        ("FOVEA_DEVICES", "2"),
    ],
)
def test_another_machine_is_refused_with_what_differs(name, value):
    here = search_machine()
    with pytest.raises(UserError) as error:
        check_machine({**here, name: value})
    assert str(error.value).endswith(f"Received: {name} ({value} → {here[name]})")


def test_a_package_that_is_missing_here_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(training_key, "PACKAGES", tmp_path)
    for group in ("training", "search"):
        (tmp_path / f"{group}.txt").write_text("no-such-package==1.0\n")
    with pytest.raises(UserError, match=r"Received: package no-such-package \(1\.0 → missing\)$"):
        check_machine({**search_machine(), "package no-such-package": "1.0"})


def test_a_worker_on_another_machine_ends_with_its_sentence_before_it_takes_a_trial(tmp_path):
    """There is no database: it would be opened afterwards."""
    plan = {"study": "s", "machine": {**search_machine(), "package keras": "2.0"}}
    (tmp_path / PLAN).write_text(json.dumps(plan))
    command = [sys.executable, "-m", "pipelines.search_worker", str(tmp_path), "w"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: this machine would train other classifiers than the ")
    assert "Received: package keras (2.0 → " in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_in_a_training_is_no_fault_of_the_trial(prepared, params, tmp_path):
    written = Hyperparameters(model=prepared.model, train=prepared.train)
    trainer = Trainer(written, params.search, params.balance, tmp_path)

    def on_value(epoch, value):
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"a value")

    with pytest.raises(UserError, match=r"^the disk is full; .*No space left on device$"):
        trainer.train(Task(0, {}, 1), on_value)
