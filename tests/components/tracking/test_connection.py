import os
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.errors import UserError
from components.tracking import connection
from components.tracking.connection import address, client, connect


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def failure(uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the sentence on a server that cannot be used, which must come within 15 s."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        connect()
    assert time.monotonic() - start < 15
    return str(caught.value)


def test_nothing_set_means_a_sqlite_file_here(workspace: Path) -> None:
    connect()
    experiment = client().get_experiment_by_name("fovea")
    assert experiment is not None
    assert experiment.artifact_location.startswith(str(workspace / "mlruns"))
    assert address() == "sqlite:///mlflow.db"


@pytest.mark.parametrize("name", ["ws", "a b'?"])
def test_in_an_experiment_of_dvc_the_store_is_that_of_the_main_workspace(
    workspace: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workspace / name / ".dvc/tmp/exps/tmp4711"
    folder.mkdir(parents=True)
    shutil.move("mlflow.db", workspace / name)
    monkeypatch.chdir(folder)
    monkeypatch.setenv(connection.ARTIFACTS_VARIABLE, "restored after the test")
    monkeypatch.setenv("DVC_EXP_NAME", "puffy-unau")
    monkeypatch.setenv("DVC_ROOT", str(workspace / name))
    connect()
    experiment = client().get_experiment_by_name("fovea")
    assert experiment is not None
    assert experiment.artifact_location.startswith((workspace / name / "mlruns").as_uri())
    assert address() == "sqlite:///mlflow.db"
    assert list(folder.iterdir()) == []
    monkeypatch.chdir(workspace / name)
    monkeypatch.delenv("DVC_EXP_NAME")
    assert client().get_experiment_by_name("fovea") is not None


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ("sqlite:///records/mlflow.db", "sqlite:////ws/records/mlflow.db"),
        ("sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_in_an_experiment_of_dvc_a_relative_path_starts_from_the_main_workspace(
    workspace: Path, written: str, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", written)
    monkeypatch.setenv("DVC_ROOT", "/ws")
    assert connection.tracking_uri() == written
    monkeypatch.setenv("DVC_EXP_NAME", "puffy-unau")
    assert connection.tracking_uri() == used


@pytest.mark.parametrize(
    ("written", "named"),
    [
        (None, "sqlite:///mlflow.db"),
        ("sqlite:////home/ann/records.db", "sqlite:///records.db"),
        ("http://ann:s3cret@10.0.0.1:5000", "http://10.0.0.1:5000"),
        ("postgresql://ann:s3cret@db/fovea?sslpassword=s3cret", "postgresql://db/fovea"),
    ],
)
def test_the_store_is_named_without_a_password_and_without_a_path_of_this_machine(
    workspace: Path, written: str | None, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if written is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", written)
    assert connection.store() == named


def test_the_experiment_is_named_by_the_environment(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "bins")
    connect()
    assert client().get_experiment_by_name("bins") is not None


def test_the_environment_is_left_without_an_address(workspace: Path) -> None:
    connect()
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_threads_side_by_side_see_and_leave_the_environment_as_the_user_set_it(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    really, inside = mlflow.set_tracking_uri, threading.Event()

    def slowly(uri: str) -> None:
        really(uri)
        inside.set()
        time.sleep(0.3)

    monkeypatch.setattr(mlflow, "set_tracking_uri", slowly)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(client)
        inside.wait()
        seen, second = threads.submit(address), threads.submit(client)
    assert seen.result() == "sqlite:///mlflow.db"
    assert first.result().tracking_uri == second.result().tracking_uri
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_the_limit_leaves_nine_seconds_for_starting_python_and_importing_mlflow() -> None:
    assert connection.REMOTE_LIMIT_S <= 15 - 9


def test_a_closed_port_is_named_within_15_seconds(
    workspace: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"http://127.0.0.1:{closed_port}"
    assert f"Received: {uri}" in failure(uri, monkeypatch)


def test_a_silent_server_is_named_within_15_seconds(
    workspace: Path, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"http://127.0.0.1:{silent_port}"
    assert f"Received: {uri}" in failure(uri, monkeypatch)


def test_retries_that_the_user_asked_for_do_not_stretch_the_limit(
    workspace: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "9")
    monkeypatch.setattr(connection, "REMOTE_LIMIT_S", 1.0)
    assert "no answer within 1 s" in failure(f"http://127.0.0.1:{closed_port}", monkeypatch)
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "9"


def test_a_password_in_the_address_is_not_shown(
    workspace: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "REMOTE_LIMIT_S", 1.0)
    sentence = failure(f"http://ann:s3cret@127.0.0.1:{closed_port}", monkeypatch)
    assert "s3cret" not in sentence
    assert f"Received: http://127.0.0.1:{closed_port}" in sentence


def test_a_file_that_is_no_database_is_named(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("notes.db").write_text("these are notes, not a database " * 100)
    sentence = failure(f"sqlite:///{workspace}/notes.db", monkeypatch)
    assert "file is not a database" in sentence


def test_a_folder_of_runs_is_refused_in_one_sentence(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Received: ./mlruns" in failure("./mlruns", monkeypatch)


def test_a_locked_store_is_named(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SQLITE_LIMIT_S", 0.1)
    holder = sqlite3.connect("mlflow.db")
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(UserError, match="database is locked"):
        connect()
    holder.close()


def test_a_deleted_experiment_is_reported_with_the_way_back(workspace: Path) -> None:
    connect()
    experiment = client().get_experiment_by_name("fovea")
    assert experiment is not None
    client().delete_experiment(experiment.experiment_id)
    with pytest.raises(UserError, match="restore the experiment in MLflow"):
        connect()
