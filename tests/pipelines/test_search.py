"""The stage `search`: none, trials of real worker processes under one run, and going on."""

import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from components.errors import UserError
from components.params.search import Choices, Confirm, Range
from components.search.choice import Outcome
from components.search.rungs import Rungs
from components.tracking.connection import client
from components.tracking.runs import Run
from pipelines import artifacts, search, train
from pipelines.formats import read_tree
from pipelines.workspace.searches import FOLDER
from tests.components.search.conftest import add
from tests.components.search.finished_trials import SPACE, finished_trials
from tests.pipelines.versioned import flip

ROOT = Path(__file__).parents[2]
IMPORTANCES = str(artifacts.IMPORTANCES)
SPEC = re.compile(r"var spec = (.*);")
BATCHES = "train.accumulate"
RATE = "train.finetune.learning_rate"


@pytest.fixture
def one_worker(monkeypatch):
    monkeypatch.setenv("FOVEA_SEARCH_WORKERS", "1")


@pytest.fixture
def three_trials(params, one_worker):
    """The params as written, and two points of `start`; only the last chooses `accumulate`."""
    space = {
        BATCHES: Range(low=1, high=3, log=False, when={"model.dropout": (0.1,)}),
        RATE: Range(low=0.001, high=0.1, log=True),
        "model.dropout": Choices(choices=(0.0, 0.1)),
    }
    start = ({RATE: 0.01, "model.dropout": 0.0}, {RATE: 0.01, "model.dropout": 0.1, BATCHES: 2})
    update = {
        "trials": 3,
        "first_rung": 1,
        "finalists": 0,
        "startup_trials": 2,
        "confirm": Confirm(trials=0, folds=2),
        "space": space,
        "start": start,
    }
    # As from params.yaml, so that the workers get the same values.
    tree = params.search.model_copy(update=update).model_dump(mode="json", exclude_unset=True)
    return type(params.search).model_validate(tree, strict=False)


def run_search(prepared, section, params):
    search.run(prepared.model, prepared.train, section, params.balance)


def runs() -> list:
    experiment = client().get_experiment_by_name("fovea")
    return client().search_runs([experiment.experiment_id], order_by=["attributes.start_time"])


def study() -> Rungs:
    name = (FOLDER / "last").read_text()
    return Rungs(f"sqlite:///{FOLDER / name / 'study.db'}", name)


def test_no_trials_leave_params_as_written(prepared, params):
    run_search(prepared, params.search, params)
    assert read_tree(artifacts.HYPERPARAMETERS) == {}
    assert pd.read_csv(artifacts.TRIALS).empty
    assert artifacts.IMPORTANCES.read_text() == "hyperparameter,share\n"
    assert artifacts.STUDY_PLOT.read_text().startswith("<?xml")
    assert "search.trials" in artifacts.STUDY_PAGE.read_text()


def test_dvc_draws_the_trials_the_importances_and_the_picture(params, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trials = [replace(trial, number=n) for n, trial in enumerate(finished_trials(26)[1:])]
    section = params.search.model_copy(update={"space": SPACE, "trials": len(trials)})
    best = max(trials, key=lambda trial: trial.values.get(section.quality, 0.0))
    search.write_results(Outcome(trials, best.number, best.overrides, (), {}, {}), section, 1)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], check=True)
    shutil.copytree(ROOT / ".dvc/plots", ".dvc/plots")
    config = Path(".dvc/config")
    config.write_text(f"{config.read_text()}[plots]\n    html_template = plots/page.html\n")
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    ours = [plot for plot in plots if "data/search" in str(plot)]
    Path("dvc.yaml").write_text(yaml.safe_dump({"plots": ours}))

    dvc = [sys.executable, "-m", "dvc", "plots", "show", "-o", "plots"]
    printed = subprocess.run(dvc, check=True, capture_output=True, text=True)
    assert printed.stderr == ""
    page = Path("plots/index.html").read_text()
    picture = "static/workspace_data_search_study.svg"
    assert "function drawPlot(" in page
    assert set(re.findall(r'(?:src|href)\s*=\s*"([^"]+)"', page)) == {picture}
    drawn = {spec["title"]["text"]: spec for spec in map(json.loads, SPEC.findall(page))}
    values = {name: spec["data"]["values"] for name, spec in drawn.items()}
    shown = [row for row in values["trials"] if row["val_macro_f1"]]
    assert len(values["trials"]) == len(trials)
    assert max(shown, key=lambda row: float(row["val_macro_f1"]))["trial"] == str(best.number)
    shares = {row["hyperparameter"]: float(row["share"]) for row in values[IMPORTANCES]}
    assert max(shares, key=lambda name: shares[name]) == RATE
    encoding = drawn[IMPORTANCES]["encoding"]
    assert [encoding[axis]["field"] for axis in "xy"] == ["share", "hyperparameter"]
    assert encoding["x"]["scale"] == {"domain": [0, 1]}  # a bar is as long as its share is large


def test_damaged_pixels_are_not_searched_on(prepared, three_trials, params):
    flip(artifacts.images("train"))
    with pytest.raises(UserError, match=r"train\.images\.npy is not the file"):
        run_search(prepared, three_trials, params)


def test_every_trial_is_a_run_under_one_run_and_a_second_search_trains_nothing(
    prepared, three_trials, params
):
    run_search(prepared, three_trials, params)

    table = pd.read_csv(artifacts.TRIALS)
    assert table["trial"].tolist() == [0, 1, 2]
    best = table.loc[table["val_macro_f1"].idxmax()]
    chosen = read_tree(artifacts.HYPERPARAMETERS)
    assert all(chosen[name] == best[name] for name in chosen)
    lines = artifacts.TRIALS.read_text().splitlines()
    names, _, *points = [line.split(",")[5:] for line in lines]
    assert names == [BATCHES, RATE, "model.dropout"]
    assert points == [["", "0.01", "0.0"], ["2", "0.01", "0.1"]]
    parents = [run for run in runs() if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs() if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == 1
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    assert {run.info.status for run in runs()} == {"FINISHED"}
    by_number = {int(run.data.tags["search_trial"]): run for run in children}
    assert sorted(by_number) == [0, 1, 2]
    assert [by_number[n].data.params[BATCHES] for n in range(3)] == ["1", "1", "2"]
    for number, run in by_number.items():
        value = table["val_macro_f1"][number]
        assert run.data.metrics["best_val_macro_f1"] == value
        assert run.data.metrics["seconds"] > 0
        assert run.info.end_time > run.info.start_time
    busy = "system/cpu_utilization_percentage"
    assert busy in parents[0].data.metrics
    assert not any(busy in run.data.metrics for run in children)

    written, page = artifacts.TRIALS.read_bytes(), artifacts.STUDY_PAGE.read_bytes()
    rows = study()
    before = rows.first.trials()
    rows.close()
    run_search(prepared, three_trials, params)
    assert artifacts.TRIALS.read_bytes() == written
    assert artifacts.STUDY_PAGE.read_bytes() == page
    # A run in MLflow whose content is there already is not written again.
    assert {run.info.run_id for run in runs()} == {run.info.run_id for run in [*parents, *children]}
    rows = study()
    assert rows.first.trials() == before
    rows.close()


@pytest.mark.slow
def test_finalists_go_on_and_are_confirmed_and_train_takes_what_was_found(
    prepared, three_trials, params
):
    update = {"finalists": 2, "confirm": Confirm(trials=1, folds=2)}
    run_search(prepared, three_trials.model_copy(update=update), params)
    table = pd.read_csv(artifacts.TRIALS).set_index("trial")
    epochs = prepared.train.finetune.epochs
    assert sorted(table["epochs"])[1:] == [-(-epochs // 2), epochs]
    assert table["confirmed"].notna().sum() in (1, 2)
    assert pd.notna(table["confirmed"][0])
    train.run(prepared.model, prepared.train)
    chosen = read_tree(artifacts.HYPERPARAMETERS)
    run = next(run for run in reversed(runs()) if run.data.tags["stage"] == "train")
    assert float(run.data.params[RATE]) == chosen[RATE]


@pytest.mark.slow
def test_a_trial_that_goes_further_later_has_one_run_with_its_last_values(
    prepared, three_trials, params
):
    """The first search ends in good order after the first rung, as after `fovea study stop`."""
    run_search(prepared, three_trials, params)
    before = trial_runs()
    more = {"finalists": 2, "confirm": Confirm(trials=1, folds=2)}
    run_search(prepared, three_trials.model_copy(update=more), params)
    after = trial_runs()
    table = pd.read_csv(artifacts.TRIALS).set_index("trial")
    assert sorted(before) == sorted(after) == list(range(3))
    for number, run in after.items():
        assert run.data.metrics["best_val_macro_f1"] == table["val_macro_f1"][number]
        assert run.data.metrics["epochs"] == table["epochs"][number]
        confirmed = [run.data.metrics.get(f"confirmed_{fold}") for fold in range(2)]
        assert (None not in confirmed) == pd.notna(table["confirmed"][number])
        curve = client().get_metric_history(run.info.run_id, "val_macro_f1")
        assert [point.step for point in curve] == list(range(1, table["epochs"][number] + 1))
    moved = {number for number in after if after[number].info.run_id != before[number].info.run_id}
    assert moved == {n for n in after if table["epochs"][n] > 1 or pd.notna(table["confirmed"][n])}


def trial_runs():
    """Return the number of a trial → its only run in MLflow."""
    tagged = [(run.data.tags.get("search_trial"), run) for run in runs()]
    found = {int(number): run for number, run in tagged if number}
    assert len(found) == sum(number is not None for number, _ in tagged)
    return found


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_under_the_same_run(
    prepared, three_trials, params, caplog
):
    """The stage is killed with all its workers, in the middle of a trial."""
    section = three_trials.model_dump(mode="json", exclude_unset=True)
    parts = [prepared.model, prepared.train, params.balance]
    trees = [part.model_dump(mode="json") for part in parts]
    Path("parts.json").write_text(json.dumps([section, *trees]))
    program = (
        "import json; from pathlib import Path; from pipelines import search;"
        "from components.params.search import Search; from components.params.model import Model;"
        "from components.params.train import Train; from components.params.balance import Balance;"
        "s, m, t, b = json.loads(Path('parts.json').read_text());"
        "search.run(*(kind.model_validate(tree, strict=False) for kind, tree in"
        " ((Model, m), (Train, t), (Search, s), (Balance, b))))"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    deadline = time.monotonic() + 120
    while not (FOLDER / "last").exists() or not finished():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.2)
    process.kill()
    process.wait()
    with caplog.at_level("INFO"):
        run_search(prepared, three_trials, params)
    assert re.search("the search goes on: [12] of 3 trials were finished before", caplog.text)
    rows = study()
    assert [row.state.name for row in rows.first.trials()] == ["COMPLETE"] * 3
    assert Run(rows.first.noted("mlflow_run")).exists()
    rows.close()
    parents = [run for run in runs() if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs() if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == 1
    assert parents[0].info.status == "FINISHED"
    assert sorted(int(run.data.tags["search_trial"]) for run in children) == [0, 1, 2]


def test_what_dead_workers_were_training_waits_again_without_a_death(tmp_path):
    rungs = Rungs.create(f"sqlite:///{tmp_path}/study.db", "s", ["maximize"])
    add(rungs.first, 0, {})
    add(rungs.add("round 1 of 0", ["maximize"]), 0, {})
    claims = [store.claim("dead") for store in rungs.stores()]
    assert all(claims)
    rungs.release()
    again = [store.claim("new") for store in rungs.stores()]
    assert [(claim.attempt, claim.deaths) for claim in again] == [(2, 0)] * 2
    rungs.close()


def finished() -> int:
    """Return how many trials of the newest search are finished."""
    try:
        rows = study()
    except UserError:  # It is being created.
        return 0
    try:
        return sum(row.state.is_finished() for row in rows.first.trials())
    finally:
        rows.close()
