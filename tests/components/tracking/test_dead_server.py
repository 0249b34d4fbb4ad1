"""A real MLflow server that breaks in the middle of a run: nothing stops, nothing is lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow.entities import Run as StoredRun

from components.errors import UserError
from components.tracking import connection, delivery
from components.tracking.connection import client, experiment_id, while_mlflow_answers
from components.tracking.delivery import CHECK_TAG, deliver_waiting
from components.tracking.journal_files import count_waiting, journal_folders
from components.tracking.runs import run_for_model, run_of_model, start_run
from tests.components.origins import ORIGIN
from tests.components.tracking.servers import Proxy, Server

EPOCHS = list(range(1, 11))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Server]:
    """One server for this file; it costs seconds to start."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    server = Server(folder)
    yield server
    server.signal(signal.SIGCONT)
    server.signal(signal.SIGKILL)


@pytest.fixture
def proxy(server: Server, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    proxy = Proxy(server)
    use(proxy.uri, workspace.name, monkeypatch)
    yield proxy
    proxy.close()


def use(uri: str, experiment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", experiment)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    monkeypatch.setattr(delivery, "END_LIMIT_S", 2.0)


def stored() -> list[StoredRun]:
    return list(client().search_runs([experiment_id()], order_by=["attributes.start_time"]))


def losses(run: StoredRun) -> list[tuple[int, float]]:
    rows = client().get_metric_history(run.info.run_id, "loss")
    assert [row.timestamp for row in rows] == sorted(row.timestamp for row in rows)
    return [(row.step, row.value) for row in rows]


def test_a_run_in_which_mlflow_breaks_is_there_once_and_in_order_when_mlflow_is_back(
    proxy: Proxy,
) -> None:
    Path("history.csv").write_text("loss\n")
    with start_run("search", ORIGIN, {}) as parent:
        parent.log_metrics({"loss": 1.0}, step=1)
        _wait(lambda: count_waiting()[0] == 0)
        proxy.mode = "deaf"  # MLflow gets what is sent, and says that it failed
        for step in EPOCHS[1:]:
            with start_run(f"trial {step}", ORIGIN, {}, parent) as trial:
                trial.log_metrics({"loss": 1 / step}, step=step)
            if step == 2:
                _wait(lambda: any("runs/create" in path for path in proxy.unheard))
                proxy.mode = "fail"
                started = time.monotonic()
            parent.log_metrics({"loss": 1 / step}, step=step)
        parent.log_files(Path("history.csv"))
        parent.set_tags({"model_id": "abc"})
        assert time.monotonic() - started < 10
    with run_for_model("abc", ORIGIN) as evaluated:
        evaluated.log_metrics({"test_accuracy": 0.9})
    assert count_waiting()[0] > 30

    proxy.mode = "pass"
    _wait_until_delivered()
    first, *trials = stored()
    assert losses(first) == [(step, 1 / step) for step in EPOCHS]
    assert first.data.metrics["test_accuracy"] == 0.9
    assert [file.path for file in client().list_artifacts(first.info.run_id)] == ["history.csv"]
    assert sorted(map(losses, trials)) == [[(step, 1 / step)] for step in EPOCHS[1:]]
    assert {run.info.status for run in [first, *trials]} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {first.info.run_id}


@pytest.mark.parametrize("broken", ["log-batch", "mlflow-artifacts"])
def test_a_record_that_mlflow_never_takes_holds_back_no_other_and_is_not_lost(
    broken: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(delivery, "ATTEMPT_PAUSES_S", (0.0,))
    monkeypatch.setattr(delivery, "END_LIMIT_S", 60.0)
    Path("history.csv").write_text("loss\n")
    proxy.broken = broken
    with start_run("train", ORIGIN, {}) as run:
        run.log_metrics({"loss": 1.0}, step=1)
        run.log_files(Path("history.csv"), folder="tables")
        run.log_metrics({"loss": 0.5}, step=2)
    Path("history.csv").unlink()
    proxy.broken = ""
    [found] = stored()
    assert found.info.status == "FINISHED"
    files = client().list_artifacts(found.info.run_id)
    assert (len(files), len(losses(found))) == ((1, 0) if broken == "log-batch" else (0, 2))
    assert capsys.readouterr().out.count("but not this one") == (2 if broken == "log-batch" else 1)

    proxy.broken = broken
    waiting = count_waiting()
    reasons = deliver_waiting().reasons
    assert len(reasons) == waiting[1]
    assert all("API request to " in reason for reason in reasons)
    assert count_waiting()[1] == waiting[1]
    proxy.broken = ""
    _wait_until_delivered()
    [found] = stored()
    assert losses(found) == [(1, 1.0), (2, 0.5)]
    assert run.read_text("tables/history.csv") == "loss\n"


def test_a_short_fault_of_mlflow_moves_no_record(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(delivery, "ATTEMPT_PAUSES_S", 6 * (0.5,))
    monkeypatch.setattr(delivery, "END_LIMIT_S", 60.0)
    with start_run("train", ORIGIN, {}) as run:
        proxy.broken = "log-batch"
        run.log_metrics({"loss": 1.0}, step=1)
        _wait(lambda: CHECK_TAG in client().get_run(run.id).data.tags)
        proxy.broken = ""
    [found] = stored()
    assert losses(found) == [(1, 1.0)]
    assert journal_folders() == []
    assert "but not this one" not in capsys.readouterr().out


def _wait_until_delivered() -> None:
    def delivered() -> bool:
        deliver_waiting()
        return journal_folders() == []

    _wait(delivered)


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_work_that_needs_mlflow_ends_soon_after_mlflow_breaks(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PAUSE_S", 0.1)

    def work() -> None:
        proxy.mode = "fail"
        time.sleep(60)

    started = time.monotonic()
    with pytest.raises(UserError, match=rf"MLflow cannot be used.*Received: {proxy.uri}"):
        while_mlflow_answers(work)
    assert time.monotonic() - started < 10
    proxy.mode = "pass"
    assert while_mlflow_answers(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        while_mlflow_answers(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        while_mlflow_answers(lambda: 1 / 0)


def test_the_limit_for_work_that_needs_mlflow_is_15_seconds() -> None:
    limits = connection.PAUSE_S + connection.FAILURES * connection.ANSWER_LIMIT_S
    assert limits <= 15


@pytest.mark.slow
@pytest.mark.parametrize("outage", ["stopped", "killed"])
def test_a_server_that_goes_away_in_mid_run_costs_nothing_but_the_wait(
    outage: str, server: Server, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(server.uri, workspace.name, monkeypatch)
    with start_run("train", ORIGIN, {}) as run:
        run.log_metrics({"loss": 1.0}, step=1)
        if outage == "stopped":
            server.signal(signal.SIGSTOP)
        else:
            server.signal(signal.SIGKILL)
        started = time.monotonic()
        for step in EPOCHS[1:]:
            run.log_metrics({"loss": 1 / step}, step=step)
            time.sleep(0.5)
        run.set_tags({"model_id": "abc"})
        assert time.monotonic() - started < 8
    assert time.monotonic() - started < 15
    assert count_waiting()[0] >= len(EPOCHS)
    if outage == "stopped":
        server.signal(signal.SIGCONT)
    else:
        server.start()
    _wait_until_delivered()
    [found] = stored()
    assert losses(found) == [(step, 1 / step) for step in EPOCHS]
    assert found.info.status == "FINISHED"
    assert run_of_model("abc") == run


WRITER = """
import time
from pathlib import Path
from components.tracking.runs import start_run
from tests.components.origins import ORIGIN
with start_run("train", ORIGIN, {}) as run:
    Path("started").touch()
    while not Path("broken").exists():
        time.sleep(0.05)
    for step in range(1, 11):
        run.log_metrics({"loss": 1 / step}, step=step)
    print("logged", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_process_that_is_killed_while_mlflow_is_away_loses_no_metric(proxy: Proxy) -> None:
    own = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", WRITER]
    with subprocess.Popen(command, env=own, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            _wait(Path("started").exists)
            proxy.mode = "fail"
            Path("broken").touch()
            assert b"logged\n" in iter(process.stdout.readline, b"")
        finally:
            process.kill()
    proxy.mode = "pass"
    with start_run("train", ORIGIN, {}):
        pass
    killed, _ = stored()
    assert losses(killed) == [(step, 1 / step) for step in EPOCHS]
    assert killed.info.status == "KILLED"
    assert journal_folders() == []
