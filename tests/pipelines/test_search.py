"""The stage `search`: none, a few trials under one parent, and going on after a crash."""

from types import SimpleNamespace

import pandas as pd
import pytest

from components.errors import HyperparameterError, UserError
from components.params.hyperparameters import Hyperparameters
from components.params.search import Choices, Range
from components.tracking.connection import client
from components.tracking.runs import start_run
from components.training.limits import TrainingFailedError
from pipelines import artifacts, search, train
from pipelines.formats import read_tree, write_tree
from tests.components.origins import ORIGIN
from tests.pipelines.versioned import flip

BATCHES = "train.accumulate"
RATE = "train.finetune.learning_rate"


@pytest.fixture
def three_trials(params):
    """Three points of `start`; only the second chooses `train.accumulate`."""
    space = {
        BATCHES: Range(low=1, high=3, log=False, when={"model.dropout": (0.1,)}),
        RATE: Range(low=0.001, high=0.1, log=True),
        "model.dropout": Choices(choices=(0.0, 0.1)),
    }
    start = (
        {RATE: 0.01, "model.dropout": 0.0},
        {RATE: 0.01, "model.dropout": 0.1, BATCHES: 2},
        {RATE: 0.02, "model.dropout": 0.0},
    )
    update = {"trials": 3, "epochs": 1, "startup_trials": 2, "space": space, "start": start}
    return params.search.model_copy(update=update)


def runs() -> list:
    experiment = client().get_experiment_by_name("fovea")
    return client().search_runs([experiment.experiment_id], order_by=["attributes.start_time"])


def test_no_trials_leave_params_as_written(prepared, params):
    search.run(prepared.model, prepared.train, params.search)
    assert read_tree(artifacts.HYPERPARAMETERS) == {}
    assert pd.read_csv(artifacts.TRIALS).empty
    assert artifacts.STUDY_PLOT.read_text().startswith("<?xml")


def test_damaged_pixels_are_not_searched_on(prepared, three_trials):
    flip(artifacts.images("train"))
    with pytest.raises(UserError, match=r"train\.images\.npy is not the file"):
        search.run(prepared.model, prepared.train, three_trials)


def test_every_trial_is_a_run_under_one_parent(prepared, three_trials):
    search.run(prepared.model, prepared.train, three_trials)

    table = pd.read_csv(artifacts.TRIALS)
    assert table["trial"].tolist() == [0, 1, 2]
    best = table.loc[table["val_balanced_accuracy"].idxmax()]
    chosen = read_tree(artifacts.HYPERPARAMETERS)
    assert chosen == best[list(chosen)].to_dict()
    assert (BATCHES in chosen) == (best["trial"] == 1)
    lines = artifacts.TRIALS.read_text().splitlines()
    assert [line.split(",")[3:] for line in lines] == [
        [BATCHES, RATE, "model.dropout"],
        ["", "0.01", "0.0"],
        ["2", "0.01", "0.1"],
        ["", "0.02", "0.0"],
    ]
    parent, *trials = runs()
    assert [run.data.tags["mlflow.parentRunId"] for run in trials] == [parent.info.run_id] * 3
    assert {run.info.status for run in [parent, *trials]} == {"FINISHED"}
    assert float(trials[0].data.params[RATE]) in table[RATE].tolist()
    assert [run.data.params[BATCHES] for run in trials] == ["1", "2", "1"]
    busy = "system/cpu_utilization_percentage"
    assert busy in parent.data.metrics
    assert not any(busy in run.data.metrics for run in trials)


@pytest.mark.slow
def test_train_takes_what_the_search_found(prepared, three_trials):
    search.run(prepared.model, prepared.train, three_trials)
    train.run(prepared.model, prepared.train)
    chosen = read_tree(artifacts.HYPERPARAMETERS)
    run = runs()[-1]
    assert float(run.data.params[RATE]) == chosen[RATE]


def test_a_second_search_on_the_same_inputs_trains_nothing(
    prepared,
    three_trials,
    monkeypatch,
):
    one_trial = three_trials.model_copy(update={"trials": 1})
    search.run(prepared.model, prepared.train, one_trial)
    first = artifacts.TRIALS.read_bytes()

    def never(*arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr(search, "train_classifier", never)
    search.run(prepared.model, prepared.train, one_trial)
    assert artifacts.TRIALS.read_bytes() == first


def test_other_data_begin_another_study(prepared, three_trials):
    written = Hyperparameters(model=prepared.model, train=prepared.train)
    before = search.study_id(written, three_trials)
    plan = read_tree(artifacts.PLAN)
    write_tree(artifacts.PLAN, {**plan, "strategy": "oversample"})
    assert search.study_id(written, three_trials) != before
    more = three_trials.model_copy(update={"trials": 30})
    assert search.study_id(written, more) == search.study_id(written, three_trials)


@pytest.mark.parametrize(
    ("overrides", "error"),
    [({"train.batch_size": 4096}, TrainingFailedError), ({}, HyperparameterError)],
)
def test_a_batch_without_room_fails_its_trial_and_ends_a_search_in_which_all_batches_are_equal(
    overrides, error, prepared, three_trials, monkeypatch
):
    def no_room(*arguments):
        raise HyperparameterError("no room for a batch", "train.batch_size")

    monkeypatch.setattr(search, "train_classifier", no_room)
    with start_run("search", ORIGIN, tags={}) as parent:
        objective = search.build_objective(prepared, three_trials, parent)
        with pytest.raises(error, match=r"^no room for a batch$"):
            objective(0, overrides, lambda epoch, value: None)


def test_other_arithmetic_begins_another_study(prepared, three_trials, monkeypatch):
    """So no study has trials of two backends, of two processors or of two versions of a package."""
    written = Hyperparameters(model=prepared.model, train=prepared.train)
    before = search.study_id(written, three_trials)
    monkeypatch.setattr(search, "arithmetic", lambda: {"jax": "0.1"})
    assert search.study_id(written, three_trials) != before


def test_weights_are_looked_up_once_however_trials_differ(prepared, three_trials, monkeypatch):
    asked = []
    monkeypatch.setattr(search, "resolve_weights", lambda model: asked.append(model.weights))
    best = SimpleNamespace(best={three_trials.maximize: 0.5})
    monkeypatch.setattr(search, "train_classifier", lambda *arguments: best)
    with start_run("search", ORIGIN, tags={}) as parent:
        objective = search.build_objective(prepared, three_trials, parent)
        for number, dropout in enumerate((0.0, 0.2, 0.4)):
            objective(number, {"model.dropout": dropout}, lambda epoch, value: None)
    assert asked == ["none"]
