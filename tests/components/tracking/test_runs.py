import json
import logging
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from components.tracking import runs
from components.tracking.connection import client, experiment_id
from components.tracking.journal_files import count_waiting
from components.tracking.runs import (
    LONGEST_TAG,
    MACHINE,
    PROCESS,
    Run,
    add_finished_run,
    adopt_model,
    continue_run,
    run_for_model,
    run_of_model,
    run_title,
    runs_below,
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


def add_trial(parent: Run, number: int, value: float, replaces: Run | None = None) -> None:
    add_finished_run(
        f"trial {number}",
        ORIGIN,
        {"trial": str(number)},
        parent,
        params={"rate": 0.1},
        curves={"val_loss": {1: 2.0, 2: value}},
        metrics={"best": value},
        times_ms=(1000, 2000),
        status="FINISHED",
        replaces=replaces,
    )


def test_all_runs_below_a_run_are_found_and_what_a_killed_process_has_left_is_deleted(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start_run("search", ORIGIN, {}) as parent:
        for number in range(5):
            add_trial(parent, number, 0.5)
        with suppress(KeyboardInterrupt), start_run("half", ORIGIN, {"trial": "9"}, parent):
            raise KeyboardInterrupt
        with start_run("not a trial", ORIGIN, {}, parent):
            pass
    monkeypatch.setattr(runs, "PAGE", 2)
    found = runs_below(parent, "trial")
    assert sorted(found) == list("01234")
    assert {number: run.tags["trial"] for number, run in found.items()} == {n: n for n in found}
    below = f"tags.`mlflow.parentRunId` = '{parent.id}'"
    left = client().search_runs([experiment_id()], below)
    assert sorted(run.info.run_name for run in left) == [
        "not a trial",
        *(f"trial {number}" for number in range(5)),
    ]


def test_a_run_that_replaces_another_one_is_the_only_one_and_has_only_its_own_values(
    workspace: Path,
) -> None:
    with start_run("search", ORIGIN, {}) as parent:
        add_trial(parent, 3, 0.5)
    before = runs_below(parent, "trial")["3"]
    with continue_run(parent.id) as again:
        add_trial(again, 3, 0.25, before)
    (run,) = runs_below(parent, "trial").values()
    assert run != before
    assert not before.exists()
    assert client().get_run(run.id).data.metrics == {"val_loss": 0.25, "best": 0.25}
    assert [point.value for point in client().get_metric_history(run.id, "val_loss")] == [2.0, 0.25]
    with continue_run(parent.id) as again:
        add_trial(again, 3, 0.125, Run("0" * 32))  # one that `mlflow gc` has removed for good
    assert len(runs_below(parent, "trial")) == 1
    assert count_waiting() == (0, 0)


def test_every_point_of_a_curve_has_its_step_and_all_arrive_in_one_request(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    curve = {3: 0.25, 1: math.nan, 7: math.inf, 2: 0.25, 900: 0.0}
    long = {step: step / 8 for step in range(1_500)}
    sent: list[int] = []
    log_batch = MlflowClient.log_batch

    def counted(self: MlflowClient, run_id: str, **of: Any) -> None:
        sent.extend([len(of["metrics"])] if "metrics" in of else [])
        log_batch(self, run_id, **of)

    monkeypatch.setattr(MlflowClient, "log_batch", counted)
    with start_run("search", ORIGIN, {}) as parent:
        add_finished_run(
            "trial 0",
            ORIGIN,
            {"trial": "0"},
            parent,
            params={},
            curves={"quality": curve, "no\nname": {1: 0.5}, "long": long, "none": {}},
            metrics={"best": 0.25},
            times_ms=(1000, 2000),
            status="FINISHED",
        )
    (run,) = runs_below(parent, "trial").values()
    points = client().get_metric_history(run.id, "quality")
    stored = {point.step: point.value for point in points}
    assert len(points) == len(curve) and math.isnan(stored.pop(1))
    assert stored == {2: 0.25, 3: 0.25, 7: sys.float_info.max, 900: 0.0}
    points = client().get_metric_history(run.id, "long")
    assert {point.step: point.value for point in points} == long
    assert sent == [5, 1, 1000, 500, 1]
    # A curve that MLflow refuses costs itself only.
    assert "MLflow refuses a record (curve)" in caplog.text
    found = client().get_run(run.id)
    assert (found.data.metrics["best"], found.info.status) == (0.25, "FINISHED")
    assert count_waiting() == (0, 0)


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


def test_a_table_is_a_file_and_a_tag_that_mlflows_page_knows(run: Run) -> None:
    run.log_table("a/one.json", ["class", "recall"], [["<b>größe", 0.5], ["glass", None]])
    run.log_table("a/two.json", ["class"], [])
    run.log_table("a/one.json", ["class", "recall"], [["<b>größe", 0.5], ["glass", None]])
    table = client().load_table(client().get_run(run.id).info.experiment_id, "a/one.json", [run.id])
    assert table["class"].tolist() == ["<b>größe", "glass"]
    assert table["recall"].tolist()[0] == 0.5
    listed = json.loads(run.read_tags()["mlflow.loggedArtifacts"])
    assert listed == [{"path": f"a/{name}.json", "type": "table"} for name in ("one", "two")]


def test_all_tables_of_a_run_that_mlflow_does_not_have_yet_are_listed(workspace: Path) -> None:
    with run_for_model("a" * 64, ORIGIN) as adopted:
        for name in ("one", "two"):
            adopted.log_table(f"a/{name}.json", ["class"], [])
    stored = run_of_model("a" * 64)
    assert stored is not None
    listed = json.loads(stored.read_tags()["mlflow.loggedArtifacts"])
    assert [table["path"] for table in listed] == ["a/one.json", "a/two.json"]


def test_an_artifact_is_there_or_not(run: Run) -> None:
    run.log_table("a/one.json", ["class"], [])
    paths = ("a/one.json", "a/two.json", "one.json", "a")
    assert [run.has_artifact(path) for path in paths] == [True, False, False, True]


def test_a_run_has_an_address_on_mlflows_page(run: Run) -> None:
    experiment = client().get_run(run.id).info.experiment_id
    assert run.route() == f"#/experiments/{experiment}/runs/{run.id}"
    assert run.route("a/b.html") == f"{run.route()}/artifacts/a/b.html"


def test_a_run_is_named_after_backbone_data_and_day() -> None:
    title = run_title("mobilenet_v2", replace(ORIGIN, digest="3f2a91c0ffee.dir"))
    assert re.fullmatch(r"mobilenet_v2 on data 3f2a91c0, \d{4}-\d\d-\d\d", title)
    known = replace(ORIGIN, tags={"data_id": "ad9826a7a42b"}, digest="3f2a91c0ffee.dir")
    assert "on data ad9826a7, " in run_title("mobilenet_v2", known)


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
