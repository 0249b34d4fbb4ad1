"""`fovea sync` and `fovea doctor` on records that a dead process has left, with a real store."""

import shutil
import socket
import time
from pathlib import Path

import pytest

from components.errors import UserError
from components.tracking.connection import client, experiment_id
from components.tracking.journal import Journal, create_journal
from components.tracking.journal_files import count_waiting
from pipelines.commands.doctor import _records
from pipelines.commands.sync import deliver_records


@pytest.fixture(autouse=True)
def workspace(folder_with_store: Path) -> Path:
    return folder_with_store


def left() -> Journal:
    journal = create_journal("run", name="train", tags={})
    journal.add("metrics", metrics={"loss": 1.0}, step=1)
    return journal


def test_what_waits_is_delivered_once_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    left().release()
    left().release()
    assert _records(Path()).status == "warn"
    assert "4 records of 2 runs in .fovea/tracking" in _records(Path()).finding
    assert deliver_records()
    assert capsys.readouterr().out == "delivered to MLflow (sqlite:///mlflow.db): 6 records\n"
    assert len(client().search_runs([experiment_id()])) == 2
    assert _records(Path()).status == "ok"
    assert deliver_records()
    assert capsys.readouterr().out == "nothing waits for MLflow\n"


def test_what_is_left_and_why_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    left().release()
    shutil.copy("mlflow.db", "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    running = left()
    assert not deliver_records()
    out = capsys.readouterr().out
    assert "delivered to MLflow (sqlite:///other.db): 0 records\n" in out
    assert "not counted: 1 run of stages that run now" in out
    assert "set MLFLOW_TRACKING_URI to it. Received: sqlite:///mlflow.db" in out
    assert "to give such records up, delete their folder" in out
    running.release()


def test_a_server_that_is_away_is_named_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("components.tracking.connection.REMOTE_LIMIT_S", 1.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        left().release()
        started = time.monotonic()
        with pytest.raises(UserError, match=rf"^2 records wait on the disk, .*Received: {uri}$"):
            deliver_records()
        assert time.monotonic() - started < 15
    assert count_waiting() == (2, 1)
