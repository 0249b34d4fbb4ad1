"""The flow `retrain` on a real Prefect server and a real, tiny DVC repository."""

import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.errors import UserError
from components.files import sha256
from components.params.hyperparameters import Hyperparameters
from components.params.reader import read_params
from components.registry.promotion import promote
from components.registry.versions import find_version, register_version
from components.tracking import runs
from pipelines.workspace import locks, processes
from pipelines.workspace.addresses import answers
from pipelines.workspace.messages import LOGGERS
from tests.cards import DIGITS
from tests.components.origins import ORIGIN
from tests.pipelines.processes import group_lives

Make = Callable[[str], Path]
SOURCE = Path(__file__).parents[2]
CARD = re.sub(r"  trials: \d+ ", "  trials: 3 ", DIGITS.read_text())
BETTER = {"train.weight_decay": 0.004}  # of the champion
FOVEA_RETRAIN = [sys.executable, "-m", "pipelines.commands.fovea", "retrain"]

THREE = """
  ingest: {cmd: echo reading && cp dvc.yaml a, outs: [a]}
  split: {cmd: cp a b, deps: [a], outs: [b]}
  train: {cmd: cp b c, deps: [b], outs: [c]}
"""
FAILING = """
  ingest: {cmd: echo one > a, outs: [a]}
  split: {cmd: 'echo "error: only one class. Received: cats" >&2; exit 1', outs: [b]}
  train: {cmd: cp b c, deps: [b], outs: [c]}
"""
WITH_OUTCOME = """
  evaluate: {cmd: "cp given/metrics.json data/evaluate/", outs: [data/evaluate/metrics.json]}
  register: {cmd: "cp given/verdict.json data/register/", outs: [data/register/verdict.json]}
"""
# Every kind of stage that DVC treats in its own way, and not in the order in which they run.
KINDS = """
  last: {cmd: cat same never always parts/b > last, deps: [same, never, always, parts/b], outs: [last]}
  same: {cmd: head -c 1 raw/one > same, deps: [raw], outs: [same]}
  never: {cmd: cp raw/one never, deps: [raw], outs: [never]}
  always: {cmd: echo 1 > always, outs: [always], always_changed: true}
  below: {cmd: cp same below, deps: [same], outs: [below]}
  parts:
    foreach: [b, a]
    do: {cmd: "mkdir -p parts && cp raw/one 'parts/${item}'", deps: [raw], outs: ["parts/${item}"]}
  apart: {cmd: cp params.yaml apart, params: [train.seed], outs: [apart]}
  restored: {cmd: echo 2 > restored, outs: [restored]}
"""  # noqa: E501
SLOW = """
  train:
    cmd: python -c "import os, pathlib, time; pathlib.Path('group').write_text(str(os.getpgrp())); time.sleep(600)"
    outs: [model]
"""  # noqa: E501


def run_flow(**parameters: bool | str) -> Any:
    """Run the flow with the handlers that Prefect sets in a process of its own.

    In the process of the tests they may have been replaced by those of `show_messages`.
    """
    from pipelines.retrain import retrain

    for name in LOGGERS:
        logging.getLogger(name).handlers[:] = logging.getLogger("prefect.extra").handlers
    return retrain(**parameters, return_state=True)


def flow_run_of(state: Any) -> Any:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_flow_run(state.state_details.flow_run_id)


def task_runs(state: Any) -> dict[str, Any]:
    """Task runs of a flow run by name, in the order in which they started."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        deadline = time.monotonic() + 10  # task runs reach the server as events, a moment later
        while time.monotonic() < deadline:
            runs = client.read_task_runs(flow_run_filter=chosen)
            if runs and all(run.state and run.state.is_final() for run in runs):
                break
            time.sleep(0.2)
    return {run.name: run for run in sorted(runs, key=lambda run: run.start_time)}


@pytest.mark.usefixtures("prefect_api")
def test_every_stage_is_one_task_run_in_the_order_of_dvc_yaml_and_its_output_is_the_log(
    workspace_of: Make,
) -> None:
    root = workspace_of(THREE)
    state = run_flow()
    assert state.is_completed()
    runs = task_runs(state)
    assert list(runs) == ["ingest", "split", "train"]
    assert (root / "c").read_text() == (root / "dvc.yaml").read_text()
    assert locks.holder(root) is None
    assert "reading" in log_of(runs["ingest"], "reading")


def log_of(run: Any, awaited: str) -> list[str]:
    """The messages of a task run, as soon as one is `awaited`, or after ten seconds."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import LogFilter, LogFilterTaskRunId

    wanted = LogFilter(task_run_id=LogFilterTaskRunId(any_=[run.id]))
    deadline = time.monotonic() + 10
    messages: list[str] = []
    with get_client(sync_client=True) as client:
        while awaited not in messages and time.monotonic() < deadline:
            messages = [log.message for log in client.read_logs(wanted)]
            time.sleep(0.2)
    return messages


@pytest.mark.usefixtures("prefect_api")
def test_the_flow_and_dvc_repro_leave_the_same_lock_file(workspace_of: Make) -> None:
    root = workspace_of(THREE)
    assert run_flow().is_completed()
    by_flow = (root / "dvc.lock").read_bytes()
    again = run_flow()
    assert again.message == "no stage ran, because nothing has changed"
    assert {run.state.name for run in task_runs(again).values()} == {"Unchanged"}
    assert (root / "dvc.lock").read_bytes() == by_flow
    for made in ("a", "b", "c", "dvc.lock"):
        (root / made).unlink()
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q", "--no-run-cache"], check=True)
    assert (root / "dvc.lock").read_bytes() == by_flow


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_a_partly_changed_pipeline_has_the_lock_file_of_dvc_repro_and_shows_what_did_not_run(
    workspace_of: Make, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = workspace_of(KINDS)
    (root / "raw").mkdir()
    (root / "raw/one").write_text("1 first")
    dvc_run("add", "raw", "-q")
    dvc_run("repro", "-q")
    dvc_run("freeze", "never")
    (root / "raw/one").write_text("1 second")  # `same` reads one letter, so its out stays the same
    (root / "restored").unlink()
    twin = shutil.copytree(root, tmp_path_factory.mktemp("twin") / "workspace")
    by_dvc = subprocess.Popen([*processes.DVC, "repro", "-q"], cwd=twin)

    state = run_flow()
    assert by_dvc.wait() == 0
    for name in ("dvc.lock", "raw.dvc", "last", "restored"):
        assert (root / name).read_bytes() == (twin / name).read_bytes(), name
    states = {name: run.state.name for name, run in task_runs(state).items()}
    assert states == {
        "raw.dvc": "Completed",
        "same": "Completed",
        "never": "Unchanged",
        "always": "Completed",
        "parts": "Completed",
        "last": "Completed",
        "below": "Unchanged",
        "apart": "Unchanged",
        "restored": "Completed",
    }
    assert state.message == "5 of 8 stages ran: same, always, parts, last, restored"

    assert run_flow().message == "1 of 8 stages ran: always"
    assert (root / "dvc.lock").read_bytes() == (twin / "dvc.lock").read_bytes()


def dvc_run(*arguments: str) -> None:
    subprocess.run([*processes.DVC, *arguments], check=True)


@pytest.mark.usefixtures("prefect_api")
def test_a_failing_stage_fails_the_flow_in_its_own_words(workspace_of: Make) -> None:
    workspace_of(FAILING)
    state = run_flow()
    assert state.is_failed()
    assert state.message == "split: only one class. Received: cats"
    assert flow_run_of(state).tags == ["model: digits"]  # without data, there is no tag for them
    runs = task_runs(state)
    assert list(runs) == ["ingest", "split"]
    assert runs["split"].state.message == "only one class. Received: cats"
    assert runs["split"].run_count == 1


@pytest.mark.slow
def test_pull_and_push_without_a_remote_are_skipped_and_the_log_says_so(
    workspace_of: Make, prefect_api: str
) -> None:
    root = workspace_of(THREE)
    flow = start_flow(prefect_api, "--pull", "--push")
    log, _ = flow.communicate(timeout=90)
    assert flow.returncode == 0, log
    assert log.count("pull and push are skipped, because no default DVC remote is set") == 1
    assert (root / "c").exists()
    assert list(task_runs(run_flow(pull=True, push=True))) == ["ingest", "split", "train"]


@pytest.mark.usefixtures("prefect_api")
def test_a_remote_that_cannot_be_asked_for_is_no_missing_remote(workspace_of: Make) -> None:
    root = workspace_of(THREE)
    (root / ".dvc/config").write_text("[core\n")
    state = run_flow(pull=True)
    assert state.is_failed()
    assert "config" in state.message


@pytest.mark.usefixtures("prefect_api")
def test_a_remote_that_cannot_be_used_is_one_sentence_before_any_stage(workspace_of: Make) -> None:
    root = workspace_of(THREE)
    add = ["remote", "add", "-q", "--default", "store", "http://127.0.0.1:9/store"]
    subprocess.run([sys.executable, "-m", "dvc", *add], check=True)
    state = run_flow(push=True)
    assert state.message.startswith("the DVC remote cannot be used (")
    assert not (root / "a").exists()
    started = time.monotonic()
    environment = processes.stage_environment({"PYTHONPATH": str(SOURCE)})
    done = subprocess.run(
        [*FOVEA_RETRAIN, "--pull"], env=environment, capture_output=True, text=True
    )
    assert time.monotonic() - started < 15
    assert done.stderr == f"error: {state.message}\n"


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_push_fills_the_remote_and_pull_restores_from_it(
    workspace_of: Make, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = workspace_of(THREE)
    remote = tmp_path_factory.mktemp("remote")
    add = ["remote", "add", "-q", "--default", "store", str(remote)]
    subprocess.run([sys.executable, "-m", "dvc", *add], check=True)
    assert list(task_runs(run_flow(push=True))) == ["ingest", "split", "train", "push"]
    for gone in ("a", "b", "c"):
        (root / gone).unlink()
    subprocess.run(["rm", "-r", str(root / ".dvc/cache")], check=True)
    state = run_flow(pull=True)
    assert list(task_runs(state)) == ["pull", "ingest", "split", "train"]
    assert (root / "c").exists()


@pytest.mark.usefixtures("prefect_api")
def test_metrics_verdict_report_and_mlflow_run_are_artifacts_of_the_flow_run(
    workspace_of: Make,
) -> None:
    from prefect.artifacts import Artifact

    root = workspace_of(WITH_OUTCOME)
    for folder in ("given", "data/evaluate", "data/register", "data/train"):
        (root / folder).mkdir(parents=True)
    metrics = {"accuracy": 0.9, "images": 40, "intervals": {"accuracy": [0.85, 0.95]}}
    verdict = {"decision": "promote", "reasons": ["no champion yet"], "version": 1}
    (root / "given/metrics.json").write_text(json.dumps(metrics))
    (root / "given/verdict.json").write_text(json.dumps(verdict))
    model = root / "data/train/model.keras"
    model.write_bytes(b"weights")
    with runs.start_run("train", ORIGIN, {"model_id": sha256(model)}) as run:
        pass
    (root / "data/raw.dvc").write_text(f"outs:\n- {{md5: {'ab' * 16}.dir, path: raw}}\n")
    state = run_flow()
    assert state.message == "2 of 2 stages ran: evaluate, register"
    assert sorted(flow_run_of(state).tags) == ["data: abababab", "model: digits"]
    table = Artifact.get("retrain-metrics")
    assert table is not None
    assert json.loads(str(table.data)) == [
        {"metric": "accuracy", "value": "0.9000", "interval": "0.8500 – 0.9500"},
        {"metric": "images", "value": "40", "interval": ""},
    ]
    text = Artifact.get("retrain-outcome")
    assert text is not None
    for said in ("promote", "no champion yet", "Version 1", run.id, "report.html", "fovea ui"):
        assert said in str(text.data)


def test_only_what_touches_a_network_is_tried_again() -> None:
    from pipelines.retrain import repro, retrain, transfer

    assert (retrain.retries, repro.retries) == (0, 0)
    assert transfer.retries == len(transfer.retry_delay_seconds) == 3


@pytest.mark.slow
def test_two_flows_in_one_workspace_wait_for_each_other(
    workspace_of: Make, prefect_api: str
) -> None:
    workspace_of(THREE.replace("echo reading", "sleep 2"))
    flows = [start_flow(prefect_api) for _ in range(2)]
    logs = [flow.communicate(timeout=90)[0] for flow in flows]
    assert [flow.returncode for flow in flows] == [0, 0], logs
    assert sum("waiting for this workspace, held by `flow run " in log for log in logs) == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_cancelling_leaves_no_process_and_a_workspace_that_goes_on(
    workspace_of: Make, prefect_api: str, how: signal.Signals
) -> None:
    root = workspace_of(SLOW)
    flow = start_flow(prefect_api)
    group = wait_for_group(root)
    cancelled = time.monotonic()
    flow.send_signal(how)
    log, _ = flow.communicate(timeout=30)
    assert time.monotonic() - cancelled < 10, log
    assert flow.returncode != 0
    assert not group_lives(group)
    (root / "dvc.yaml").write_text(f"stages:\n{THREE}")
    assert run_flow().is_completed()


@pytest.mark.slow
def test_after_kill_9_of_the_flow_the_next_waits_for_the_orphaned_stage(
    workspace_of: Make, prefect_api: str
) -> None:
    root = workspace_of(SLOW.replace("600", "4"))
    flow = start_flow(prefect_api, "--apart")
    group = wait_for_group(root)
    flow.kill()
    flow.wait()
    assert flow.stdout is not None
    flow.stdout.close()
    assert group_lives(group)
    (root / "dvc.yaml").write_text(f"stages:\n{THREE}")
    assert run_flow().is_completed()
    assert not group_lives(group)


@pytest.mark.slow
def test_a_killed_front_takes_its_flow_with_it(workspace_of: Make, prefect_api: str) -> None:
    root = workspace_of(SLOW)
    front = start_flow(prefect_api)
    group = wait_for_group(root)
    front.kill()
    front.wait()
    assert front.stdout is not None
    front.stdout.close()
    deadline = time.monotonic() + 10
    while group_lives(group) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not group_lives(group)


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_ends_the_flow_and_its_temporary_server(
    workspace_of: Make, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = workspace_of(SLOW)
    own = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    own["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "120"  # as pyproject.toml says
    flow = subprocess.Popen(
        FOVEA_RETRAIN,
        env=own | {"PYTHONPATH": str(SOURCE), "PREFECT_HOME": str(tmp_path_factory.mktemp("home"))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    group = wait_for_group(root)
    cancelled = time.monotonic()
    os.killpg(flow.pid, signal.SIGINT)  # as a terminal sends it
    log, _ = flow.communicate(timeout=30)
    assert time.monotonic() - cancelled < 12, log
    assert flow.returncode == 130
    assert log.rstrip().endswith("was interrupted; run `fovea retrain` again to continue")
    assert "ConnectError" not in log
    assert not group_lives(group)


@pytest.mark.slow
def test_a_flow_waits_for_a_dvc_that_somebody_started_by_hand(
    workspace_of: Make, prefect_api: str
) -> None:
    workspace_of(THREE.replace("echo reading", "sleep 4"))
    flow = start_flow(prefect_api)
    time.sleep(1)
    by_hand = subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], capture_output=True)
    log, _ = flow.communicate(timeout=90)
    assert flow.returncode == 0, log
    assert by_hand.returncode in (0, 255)  # DVC itself does not wait


TWO = """
  ingest: {cmd: "echo $PPID > started && sleep 3 && echo 1 > a", outs: [a]}
  train: {cmd: "cp a b && date +%s.%N > ended && exit STATUS", deps: [a], outs: [b]}
"""


@pytest.fixture
def own_server(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator["subprocess.Popen[bytes]"]:
    """A Prefect server of its own at PREFECT_API_URL, which a test may kill."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
    server = subprocess.Popen(
        [*command, "--port", port], stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 90
    while not answers(os.environ["PREFECT_API_URL"], 2) and time.monotonic() < deadline:
        time.sleep(0.2)
    yield server
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


@pytest.mark.slow
@pytest.mark.parametrize(("how", "status"), [(signal.SIGKILL, 1), (signal.SIGSTOP, 0)])
def test_a_flow_whose_server_is_gone_ends_within_20_s_with_the_status_of_its_stages(
    how: signal.Signals, status: int, workspace_of: Make, own_server: "subprocess.Popen[bytes]"
) -> None:
    root = workspace_of(TWO.replace("STATUS", str(status)))
    flow = start_flow(os.environ["PREFECT_API_URL"])
    deadline = time.monotonic() + 60
    while not (root / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(own_server.pid, how)  # also the processes that it has started
    log, _ = flow.communicate(timeout=120)
    assert time.time() - float((root / "ended").read_text()) < 20, log
    assert flow.returncode == status, log
    assert "Prefect's server does not answer any more, so it does not know how" in log
    assert ("error: train: " in log) == bool(status)
    done = "a" if status else "b"
    assert (root / done).exists()
    assert locks.holder(root) is None
    assert f"outs:\n    - path: {done}" in (root / "dvc.lock").read_text()


COPYING = """
  train: {cmd: "git log -1 --format=%s > model && git status --porcelain >> model", outs: [model]}
"""


@pytest.fixture
def champion(
    workspace_of: Make, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, str]:
    """A git repository whose one stage writes down git's state; version 1 is the champion."""
    root = workspace_of(COPYING)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Ann")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "ann@localhost")
    shutil.copy(empty_store, root / "mlflow.db")
    (root / "params.yaml").write_text(CARD)
    (root / "model.keras").write_bytes(b"one")
    params = read_params(root / "params.yaml")
    trained = Hyperparameters(model=params.model, train=params.train).with_overrides(BETTER)
    with runs.start_run("train", ORIGIN, {}) as run:
        run.log_params(trained.model_dump())
    pixels = np.zeros((1, 4, 4, 3), np.uint8)
    register_version("digits", root / "model.keras", run, pixels, 2, {})
    promote("digits", "1", "first", "Ann", override=True)
    (root / ".gitignore").write_text(".fovea\nmlflow.db*\nmlruns\nmodel*\n.dvc/tmp\n.dvc/cache\n")
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "by hand")
    return root, find_version("digits", "1").reference


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.mark.usefixtures("prefect_api")
def test_a_mistake_in_params_yaml_is_one_sentence_before_any_stage(workspace_of: Make) -> None:
    root = workspace_of(THREE)
    (root / "params.yaml").write_text(CARD.replace("\nbalance:", "\nbalanse:"))
    state = run_flow()
    assert state.is_failed()
    assert "balanse" in state.message
    assert "\n" not in state.message
    assert not (root / "dvc.lock").exists()


@pytest.mark.usefixtures("prefect_api")
def test_a_stage_that_ctrl_c_stops_is_cancelled_and_so_is_its_flow_run(workspace_of: Make) -> None:
    root = workspace_of(f"  train: {{cmd: 'kill -INT {os.getpid()} && sleep 600', outs: [model]}}")
    state = run_flow()
    assert (state.name, state.message) == ("Cancelled", "stopped by Ctrl-C")
    stages = {name: run.state.name for name, run in task_runs(state).items()}
    assert stages == {"train": "Cancelled"}
    assert locks.holder(root) is None


@pytest.mark.parametrize("variable", ["PREFECT_API_URL", "MLFLOW_TRACKING_URI"])
def test_a_server_that_is_not_there_is_one_sentence_within_15_s(
    workspace_of: Make, variable: str
) -> None:
    workspace_of(THREE)
    started = time.monotonic()
    done = subprocess.run(
        FOVEA_RETRAIN,
        env=processes.stage_environment(
            {variable: "http://127.0.0.1:9/api", "PYTHONPATH": str(SOURCE)}
        ),
        capture_output=True,
        text=True,
    )
    assert time.monotonic() - started < 15
    assert done.returncode == 1
    (sentence,) = (done.stdout + done.stderr).splitlines()
    assert "server does not answer" in sentence
    assert sentence.endswith("Received: http://127.0.0.1:9/api")


@pytest.mark.usefixtures("prefect_api")
def test_weights_and_point_of_the_champion_are_committed_before_and_dvc_lock_after_the_stages(
    champion: tuple[Path, str],
) -> None:
    root, reference = champion
    (root / "half.py").write_text("not ready\n")
    before = git("rev-parse", "--short", "HEAD").strip()
    state = run_flow(start_from="champion", branch="warm")
    assert state.is_completed()
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d {before}", flow_run_of(state).name)
    first = "Training starts from version 1 of digits, the champion"
    assert (root / "model").read_text() == f"{first}\n?? half.py\n"
    written = (root / "params.yaml").read_text()
    assert re.sub(r"  start: .*?\] #", "  start: [] #", written) == CARD.replace(
        "\n  weights: none\n", f"\n  weights: {reference}\n"
    )
    params = read_params(root / "params.yaml")
    as_written = Hyperparameters(model=params.model, train=params.train)
    start = [{name: as_written.value(name) for name in params.search.space} | BETTER]
    assert [*params.search.start] == start
    assert git("log", "--format=%s", "--name-only", "main..warm").split("\n\n") == [
        "What the stages wrote when they ran again",
        f"dvc.lock\n{first}",
        "params.yaml\n",
    ]
    assert git("branch", "--show-current") == "warm\n"
    assert git("status", "--porcelain") == "?? half.py\n"

    assert run_flow(start_from="champion").is_completed()  # nothing is new, so nothing is committed
    assert git("rev-list", "--count", "main..warm") == "2\n"


@pytest.mark.usefixtures("prefect_api")
def test_with_no_commit_the_version_is_written_and_without_from_nothing_is(
    champion: tuple[Path, str],
) -> None:
    root, reference = champion
    assert run_flow().is_completed()
    assert (root / "params.yaml").read_text() == CARD
    assert run_flow(start_from="champion", commit=False).is_completed()
    assert reference in (root / "params.yaml").read_text()
    assert git("log", "--format=%s") == "by hand\n"


def test_options_that_contradict_each_other_are_refused_before_the_flow(tmp_path: Path) -> None:
    for options, sentence in {
        ("--branch", "warm"): "without `--from champion`. Received: --branch alone",
        ("--no-commit",): "without `--from champion`. Received: --no-commit alone",
        ("--from", "champion", "--branch", "warm", "--no-commit"): "out --branch or --no-commit",
    }.items():
        done = subprocess.run([*FOVEA_RETRAIN, *options], capture_output=True, text=True)
        assert done.returncode == 1
        assert sentence in done.stderr


def test_a_merge_conflict_in_dvc_lock_is_said_before_prefect_starts(workspace_of: Make) -> None:
    workspace_of(THREE)
    Path("dvc.lock").write_text("<<<<<<< HEAD\nstages: {}\n=======\n>>>>>>> theirs\n")
    environment = processes.stage_environment({"PYTHONPATH": str(SOURCE)})
    done = subprocess.run(FOVEA_RETRAIN, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: dvc.lock is not valid YAML")
    assert "Traceback" not in done.stderr


def test_the_command_of_before_is_answered_by_the_new_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.retrain", "--pull"], capture_output=True
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        b"error: `python -m pipelines.retrain` is now `fovea retrain`, with the same options"
    )


def test_outside_of_a_repository_one_sentence_says_so(tmp_path: Path) -> None:
    from pipelines.retrain import read_stages

    with pytest.raises(UserError, match=r"no dvc.yaml; run from the repository's root. Received"):
        read_stages(tmp_path / "dvc.yaml")
    (tmp_path / "dvc.yaml").write_text("stages: []\n")
    with pytest.raises(UserError, match=r"must name stages"):
        read_stages(tmp_path / "dvc.yaml")


def start_flow(api: str, *options: str) -> "subprocess.Popen[str]":
    extra = {"PREFECT_API_URL": api, "PYTHONPATH": str(SOURCE)}
    return subprocess.Popen(
        [*FOVEA_RETRAIN, *options],
        env=processes.stage_environment(extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_group(root: Path) -> int:
    deadline = time.monotonic() + 120
    while not (root / "group").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.1)
    return int((root / "group").read_text())
