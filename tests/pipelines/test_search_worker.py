"""One worker process of a search: which machines it refuses, and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import UserError
from components.params.hyperparameters import Hyperparameters
from components.params.reader import read_params
from components.search.rungs import Rungs
from components.search.tasks import Task
from pipelines.search_worker import Trainer, check_machine, epoch_number, search_machine
from pipelines.workspace import training_key
from pipelines.workspace.searches import PLAN
from tests.cards import DIGITS

ROOT = Path(__file__).parents[2]


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
    program = [sys.executable, "-m", "pipelines.search_worker"]
    command = [*program, str(tmp_path), "w", str(os.getpid())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: this machine would train other classifiers than the ")
    assert "Received: package keras (2.0 → " in done.stderr


def test_a_worker_whose_search_was_killed_before_it_could_begin_ends_at_once(tmp_path):
    """Otherwise it would never end: the process that it has now as its parent lives for ever."""
    rungs = Rungs.create(f"sqlite:///{tmp_path}/study.db", "s", ["maximize"])
    rungs.close()
    prepared_params = read_params(DIGITS)
    parts = {"search": prepared_params.search, "balance": prepared_params.balance}
    parts |= {"written": Hyperparameters(model=prepared_params.model, train=prepared_params.train)}
    trees = {name: part.model_dump(mode="json", exclude_unset=True) for name, part in parts.items()}
    plan = {"study": "s", "machine": search_machine(), **trees}
    (tmp_path / PLAN).write_text(json.dumps(plan))
    killed = subprocess.Popen(["true"])
    killed.wait()
    program = [sys.executable, "-m", "pipelines.search_worker"]
    command = [*program, str(tmp_path), "w", str(killed.pid)]
    done = subprocess.run(command, cwd=ROOT, timeout=60)
    assert done.returncode == 1


def test_a_trial_goes_on_at_another_gpu_of_the_same_kind(
    prepared, params, tmp_path, monkeypatch, caplog
):
    """Each worker has its own GPU, and the one with the next round of a trial may have another."""
    written = Hyperparameters(model=prepared.model, train=prepared.train)
    for gpu, until in (("0", 1), ("1", 2)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpu)
        trainer = Trainer(written, params.search, params.balance, tmp_path)
        trainer.train(Task(0, {}, until), lambda epoch, value: None)
    assert "an unfinished training goes on after epoch 1" in caplog.text


def test_a_training_that_has_gone_further_than_a_round_has_the_value_of_the_round(
    prepared, params, tmp_path
):
    """So it is if a finalist of an earlier search meets more finalists, in shorter rounds."""
    written = Hyperparameters(model=prepared.model, train=prepared.train)

    def train(folder, until):
        epochs = []
        trainer = Trainer(written, params.search, params.balance, tmp_path / folder)
        value = trainer.train(Task(0, {}, until), lambda epoch, value: epochs.append(epoch))
        return value, epochs

    assert train("a", 2)[1] == [1, 2]
    assert train("a", 1) == train("b", 1)
    assert train("a", 2) == train("b", 2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_in_a_training_is_no_fault_of_the_trial(prepared, params, tmp_path):
    written = Hyperparameters(model=prepared.model, train=prepared.train)
    trainer = Trainer(written, params.search, params.balance, tmp_path)

    def on_value(epoch, value):
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"a value")

    with pytest.raises(UserError, match=r"^the disk is full; .*No space left on device$"):
        trainer.train(Task(0, {}, 1), on_value)
