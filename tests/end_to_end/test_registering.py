"""What is registered, and what each command says: experiments, another store, a deleted model."""

import json
import re

import pytest

from components.model.model_file import model_id
from components.registry.versions import versions
from components.tracking.connection import client, experiment_id
from tests.end_to_end.conftest import mlflow_of, run, stages_run, take_results

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def circle(clone, first_generation):
    """A clone after `dvc pull`: it has the images, the results and the model, and no MLflow."""
    folder = take_results(first_generation, clone("circle"))
    run(folder, "git add -A && git commit -qm 'first model'")
    return folder


def registered(folder):
    """Return number, model_id and aliases of each version."""
    with mlflow_of(folder):
        return [[each.number, each.model_id, [*each.aliases]] for each in versions("digits")]


def tracked(folder):
    """Return the experiment of DVC and the stage of each run."""
    with mlflow_of(folder):
        found = client().search_runs([experiment_id()])
    return [[each.data.tags.get(tag) for tag in ("dvc.experiment", "stage")] for each in found]


def check_unregistered(folder):
    """Check that every command says so, and that `fovea register` is what helps."""
    assert run(folder, "dvc status") == "Data and pipelines are up to date.\n"
    assert stages_run(run(folder, "dvc repro")) == []
    summary = run(folder, "fovea summary")
    assert "has no version of this model" in summary
    assert "  fovea register" in summary
    assert "`fovea register` registers" in run(folder, "fovea review")
    for command in ("fovea promote --reason so", "fovea promote 1 --reason so"):
        assert "`fovea register` registers" in run(folder, command, expect=1)


def check_registered(folder, number):
    """Register, and check that verdict, alias and summary mean the model of the workspace."""
    printed = run(folder, "fovea register")
    assert stages_run(printed) == ["register"]
    assert f"register: version {number} of digits" in printed
    identity = model_id(folder / "data/train/model.keras")
    challenger = next(row for row in registered(folder) if "challenger" in row[2])
    assert challenger[:2] == [number, identity]
    verdict = json.loads((folder / "data/register/verdict.json").read_text())
    assert (verdict["version"], verdict["model_id"]) == (number, identity)
    assert verdict["store"] == "sqlite:///mlflow.db"
    summary = run(folder, "fovea summary")
    assert f"digits, version {number}, at sqlite:///mlflow.db" in summary
    assert identity in summary
    assert run(folder, "dvc status") == "Data and pipelines are up to date.\n"


def test_after_a_pull_with_another_store_and_after_a_deletion_register_does_what_repro_does_not(
    circle,
):
    assert "`fovea register` registers the model" in run(circle, "fovea review")
    check_unregistered(circle)
    check_registered(circle, 1)
    with mlflow_of(circle):
        client().delete_registered_model("digits")
    assert "`fovea register` registers the model" in run(circle, "fovea review")
    check_unregistered(circle)
    check_registered(circle, 1)
    extra, image = circle / "data/raw/0/extra.png", next((circle / "data/raw/0").iterdir())
    extra.write_bytes(image.read_bytes())
    refused = run(circle, "fovea register", expect=1)
    assert "run `dvc repro`" in refused
    assert "Received: changed: data/raw.dvc, ingest" in refused
    extra.unlink()
    explained = run(circle, "fovea explain 1")
    head = run(circle, "git rev-parse HEAD").strip()
    assert f"git checkout {head}   # its dvc.lock has this model" in explained


@pytest.mark.parametrize(
    ("option", "smoothing"), [("", 0.2), ("--temp", 0.3), ("--queue", 0.4)], ids=str
)
def test_an_experiment_registers_nothing_until_it_is_applied_and_registered(
    circle, option, smoothing
):
    if not registered(circle):
        check_registered(circle, 1)
    run(circle, "git add -A && git commit -qm 'as it is' --allow-empty")
    before = registered(circle)
    name = f"exp{option}"
    verdict = (circle / "data/register/verdict.json").read_bytes()
    printed = run(circle, f"dvc exp run {option} -n {name} -S train.label_smoothing={smoothing}")
    if option == "--queue":
        printed = run(circle, "dvc exp run --run-all --jobs 1 && dvc queue logs exp--queue")
    assert f"the experiment {name} registers no version" in printed
    if option:
        assert (circle / "data/register/verdict.json").read_bytes() == verdict
    assert registered(circle) == before
    assert [name, "train"] in tracked(circle)

    run(circle, f"dvc exp apply {name}")
    if not option:  # what each command then says does not depend on where the experiment ran
        check_unregistered(circle)
    check_registered(circle, before[-1][0] + 1)
    explained = run(circle, "fovea explain challenger")
    assert re.search(rf"experiment \(DVC\)\s+{name}\s", explained)


def test_an_earlier_model_that_comes_back_is_the_challenger_again(circle):
    run(circle, "git add -A && git commit -qm 'as it is' --allow-empty")
    check_registered(circle, registered(circle)[-1][0] if registered(circle) else 1)
    first = registered(circle)[-1]
    run(circle, "sed -i 's/label_smoothing: .*/label_smoothing: 0.05/' params.yaml && dvc repro")
    assert registered(circle)[-1][0] == first[0] + 1
    printed = run(circle, "git checkout -q params.yaml && dvc repro")
    assert "Stage 'train' is cached" in printed
    assert stages_run(printed) == ["register"]
    challenger = next(row for row in registered(circle) if "challenger" in row[2])
    assert challenger[:2] == first[:2]
    verdict = json.loads((circle / "data/register/verdict.json").read_text())
    assert [verdict["version"], verdict["model_id"]] == first[:2]
    assert stages_run(run(circle, "dvc repro")) == []  # an unchanged one is skipped
    promoted = run(circle, "fovea promote --override --reason so")
    assert f"version {first[0]} is now the champion" in promoted


def test_a_verdict_counts_the_comparisons_of_experiments(continued):
    run(continued, "git add -A && git commit -qm 'first model'")
    run(continued, "fovea register && fovea promote 1 --reason so")
    for name, smoothing in (("tried", 0.15), ("chosen", 0.25)):
        run(continued, f"dvc exp run --temp -n {name} -S train.label_smoothing={smoothing}")
    run(continued, "dvc exp apply chosen && fovea register")
    verdict = json.loads((continued / "data/register/verdict.json").read_text())
    assert (verdict["version"], verdict["champion"]) == (2, 1)
    # The experiment `tried`; `chosen` is the model that is judged.
    assert "1 comparison on this test split before this one" in "; ".join(verdict["reasons"])
