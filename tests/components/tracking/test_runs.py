import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from components.tracking.connection import client, experiment_id
from components.tracking.runs import (
    LONGEST_TAG,
    MACHINE,
    PROCESS,
    Run,
    adopt_model,
    run_of_model,
    start_run,
)
from components.tracking.this_process import ended_since, machine, started
from tests.components.origins import ORIGIN


@pytest.fixture
def run(workspace: Path) -> Run:
    with start_run("train", ORIGIN, {"stage": "train"}) as started:
        return started


def test_a_run_carries_lineage_and_its_stage(run: Run) -> None:
    stored = client().get_run(run.id)
    assert stored.data.tags["git.commit"] == ORIGIN.tags["git.commit"]
    assert stored.data.tags["stage"] == "train"
    assert stored.info.status == "FINISHED"


def test_data_raw_is_logged_as_dataset_under_its_dvc_hash(workspace: Path) -> None:
    with start_run("train", ORIGIN, {}) as run:
        pass
    used = client().get_run(run.id).inputs.dataset_inputs[0].dataset
    assert (used.name, used.digest) == ("data/raw", ORIGIN.digest)


def test_a_child_stands_below_its_parent(workspace: Path) -> None:
    with (
        start_run("search", ORIGIN, {}) as parent,
        start_run("trial 0", ORIGIN, {}, parent) as child,
    ):
        pass
    assert client().get_run(child.id).data.tags["mlflow.parentRunId"] == parent.id


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_how_a_run_ended_is_on_it(workspace: Path, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), start_run("train", ORIGIN, {}) as run:
        raise error
    assert client().get_run(run.id).info.status == status


def test_nested_params_have_dotted_names(run: Run) -> None:
    run.log_params({"seed": 17, "train": {"head": {"epochs": 3}, "empty": {}}})
    logged = client().get_run(run.id).data.params
    assert logged == {"seed": "17", "train.head.epochs": "3", "train.empty": "{}"}


def test_a_param_too_long_for_mlflow_is_kept_whole_in_a_file(run: Run) -> None:
    run.log_params({"space": "x" * 6_001})
    assert run.read_text("params/space.txt") == "x" * 6_001
    shown = client().get_run(run.id).data.params["space"]
    assert shown == "6001 characters, see artifact params/space.txt"


def test_more_params_and_metrics_than_one_request_holds_are_all_there(run: Run) -> None:
    run.log_params({f"p{n}": n for n in range(250)})
    run.log_metrics({f"m{n}": float(n) for n in range(1_200)}, step=3)
    data = client().get_run(run.id).data
    assert (len(data.params), len(data.metrics)) == (250, 1_200)


def test_files_and_folders_arrive_below_their_folder(run: Run) -> None:
    Path("curves").mkdir()
    Path("curves/roc.csv").write_text("a,b\n")
    Path("report.html").write_text("<p>fine</p>")
    run.log_files(Path("report.html"), Path("curves"), folder="evaluate")
    assert run.read_text("evaluate/report.html") == "<p>fine</p>"
    assert run.read_text("evaluate/curves/roc.csv") == "a,b\n"
    assert run.read_text("evaluate/none.txt") is None


def test_a_tag_is_never_cut_silently(run: Run) -> None:
    with pytest.raises(ValueError, match="tag note"):
        run.set_tags({"note": "x" * (LONGEST_TAG + 1)})


def test_the_newest_run_of_a_model_is_found_by_its_sha256(workspace: Path) -> None:
    assert run_of_model("abc") is None
    for _ in range(2):
        with start_run("train", ORIGIN, {"stage": "train"}) as run:
            run.set_tags({"model_id": "abc"})
    assert run_of_model("abc") == run


def test_an_unknown_model_is_adopted_into_a_run(workspace: Path) -> None:
    adopted = adopt_model("abc", ORIGIN)
    assert run_of_model("abc") == adopted
    assert client().get_run(adopted.id).data.tags["adopted"] == "yes"


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """A real process, as a stage is one."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def run_of(tags: dict[str, str]) -> str:
    """Create a run as a stage with these tags has it, and leave it in the status RUNNING."""
    return str(client().create_run(experiment_id(), tags=tags).info.run_id)


def status(run_id: str) -> str:
    return str(client().get_run(run_id).info.status)


def test_the_run_of_a_killed_process_is_ended_by_the_next_run_and_no_other_is(
    workspace: Path, sleeper: "subprocess.Popen[bytes]"
) -> None:
    process = f"{sleeper.pid} {started(sleeper.pid)}"
    here = run_of({MACHINE: machine(), PROCESS: process})
    others = [
        run_of({MACHINE: "another machine", PROCESS: process}),
        run_of({MACHINE: machine(), PROCESS: f"{os.getpid()} {started(os.getpid())}"}),
        run_of({MACHINE: machine(), PROCESS: "no number"}),
        run_of({MACHINE: machine()}),
        run_of({}),  # of an older Fovea, or of another program
    ]
    with start_run("train", ORIGIN, {}):
        assert status(here) == "RUNNING"
    sleeper.kill()
    sleeper.wait()
    with start_run("search", ORIGIN, {}) as parent:
        assert status(here) == "KILLED"
        with start_run("trial 0", ORIGIN, {}, parent):
            assert status(parent.id) == "RUNNING"
    assert {status(run_id) for run_id in others} == {"RUNNING"}


def test_a_process_with_the_number_of_a_dead_one_is_another_process(
    workspace: Path, sleeper: "subprocess.Popen[bytes]"
) -> None:
    assert ended_since(f"{sleeper.pid} 1")
    assert not ended_since(f"{sleeper.pid} {started(sleeper.pid)}")


def test_runs_that_may_not_be_ended_stop_no_stage(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        raise MlflowException("permission denied")

    monkeypatch.setattr(logging.getLogger("components"), "propagate", True)
    monkeypatch.setattr(MlflowClient, "search_runs", refuse)
    with start_run("train", ORIGIN, {}) as run:
        assert status(run.id) == "RUNNING"
    assert "stay in MLflow's status RUNNING: permission denied" in caplog.text


START = """
import time
from components.tracking.runs import start_run
from tests.components.origins import ORIGIN
with start_run("train", ORIGIN, {}) as run:
    print(run.id, flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_run_of_this_code_is_ended_after_kill_9(workspace: Path) -> None:
    own = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", START]
    with subprocess.Popen(command, env=own, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        killed = process.stdout.readline().decode().strip()
        assert status(killed) == "RUNNING"
        process.kill()
    with start_run("train", ORIGIN, {}):
        assert status(killed) == "KILLED"
