"""One worker process of a search: which machines it refuses, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import HyperparameterError, UserError
from components.params.hyperparameters import Hyperparameters
from components.params.reader import read_params
from components.search.rungs import Rungs
from components.search.tasks import Task
from components.training.limits import TrainingFailedError
from pipelines import search_worker
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


class AskedError(Exception):
    """Instead of a training: what it was asked to do."""


@pytest.fixture
def asked(prepared, params, tmp_path, monkeypatch):
    """A function that returns with which arguments a task is trained, without its training."""
    written = Hyperparameters(model=prepared.model, train=prepared.train)
    trainer = Trainer(written, params.search, params.balance, tmp_path)

    def train(hyperparameters, data, weights, on_epoch, features, checkpoints, **more):
        raise AskedError(hyperparameters, data, checkpoints, more["until"])

    monkeypatch.setattr(search_worker, "train_classifier", train)

    def ask(task):
        with pytest.raises(AskedError) as error:
            trainer.train(task, lambda epoch, value: None)
        return (*error.value.args, trainer)

    return ask


def test_a_task_of_the_first_rung_trains_only_the_head_and_keeps_no_checkpoint(asked):
    head = {"model.backbone": "mobilenet_v2", "model.weights": "imagenet", "train.head.epochs": 3}
    mixing = {"train.mixup": 0.2, "train.average.soup": 2, "model.dropout": 0.3}
    hyperparameters, data, checkpoints, until, trainer = asked(Task(3, head | mixing, 0))
    train = hyperparameters.train
    assert (train.finetune.epochs, train.mixup, train.cutmix, train.average.soup) == (0, 0, 0, 0)
    assert hyperparameters.model.dropout == 0.3
    assert (checkpoints, until, data) == (None, None, trainer.data())


def test_a_task_of_a_round_goes_on_from_the_checkpoints_of_its_trial(asked, tmp_path):
    hyperparameters, _, checkpoints, until, trainer = asked(Task(3, {"model.dropout": 0.3}, 2))
    assert (until, checkpoints.root) == (2, tmp_path / "checkpoints/3")
    assert hyperparameters == trainer.written.with_overrides({"model.dropout": 0.3})
    *_, all_epochs, _ = asked(Task(3, {}, None))
    assert all_epochs is None


def test_each_confirmation_has_the_images_and_the_seed_of_its_fold(asked):
    seeds = set()
    for number in range(2):
        hyperparameters, data, checkpoints, until, trainer = asked(Task(0, {}, None, number))
        fold = trainer.folds()[number]
        assert data is fold.data
        assert hyperparameters.train.seed == fold.seed
        assert (checkpoints, until) == (None, None)
        seeds.add(fold.seed)
    assert len({*seeds, trainer.written.train.seed}) == 3


@pytest.mark.parametrize(
    ("tried", "error"),
    [({"train.batch_size": 8}, TrainingFailedError), ({"model.dropout": 0.1}, HyperparameterError)],
)
def test_a_value_that_cannot_be_trained_fails_the_trials_that_have_chosen_it(
    tried, error, prepared, params, tmp_path, monkeypatch
):
    def train(*given, **more):
        raise HyperparameterError("train.batch_size: too large", "train.batch_size")

    monkeypatch.setattr(search_worker, "train_classifier", train)
    written = Hyperparameters(model=prepared.model, train=prepared.train)
    trainer = Trainer(written, params.search, params.balance, tmp_path)
    with pytest.raises(error, match=r"^train\.batch_size: too large$") as raised:
        trainer.train(Task(1, tried, None), lambda epoch, value: None)
    assert type(raised.value) is error


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


def test_a_task_reports_each_epoch_and_returns_all_objectives(prepared, params, tmp_path):
    written = Hyperparameters(model=prepared.model, train=prepared.train)
    assert written.train.early_stopping.monitor == "val_loss"
    search = params.search.model_copy(update={"objectives": ("val_loss", "bytes")})
    curve = {}
    trainer = Trainer(written, search, params.balance, tmp_path)
    values = trainer.train(Task(0, {}, None), curve.__setitem__)
    assert list(curve) == [1, 2]
    assert values.keys() == {"val_loss", "bytes"}
    assert values["val_loss"] == min(curve.values()) > 1.0  # No accuracy is above 1.
    assert values["bytes"] > 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_in_a_training_is_no_fault_of_the_trial(prepared, params, tmp_path):
    written = Hyperparameters(model=prepared.model, train=prepared.train)
    trainer = Trainer(written, params.search, params.balance, tmp_path)

    def on_value(epoch, value):
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"a value")

    with pytest.raises(UserError, match=r"^the disk is full; .*No space left on device$"):
        trainer.train(Task(0, {}, 1), on_value)


def test_a_signal_that_a_package_turns_into_another_error_ends_the_worker():
    def train(task, on_value):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("the signal did not arrive")
        except SystemExit:
            raise RuntimeError("a result with an exception set") from None

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGTERM, search_worker._end_once)
    try:
        with pytest.raises(SystemExit):
            search_worker._ending_as_asked(train)(None, None)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_without_a_signal_an_error_of_a_training_stays_what_it_is():
    def train(task, on_value):
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        search_worker._ending_as_asked(train)(None, None)
