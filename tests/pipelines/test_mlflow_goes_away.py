"""The stage `train` with a real MLflow server that is killed or stopped after the first epoch."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from components.files import sha256
from components.tracking.connection import client
from components.tracking.journal_files import FOLDER, journal_folders
from components.tracking.runs import run_of_model
from pipelines import artifacts, train
from pipelines.commands.sync import deliver_records
from tests.components.tracking.servers import Server

pytestmark = pytest.mark.slow


@pytest.fixture
def server(empty_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "mlflow.db")
    server = Server(folder)
    yield server
    server.signal(signal.SIGCONT)
    server.signal(signal.SIGKILL)


def _after_the_first_epoch(server: Server, number: int) -> None:
    """Send a signal to the server as soon as metrics are in a journal."""
    while not any(b'"metrics"' in file.read_bytes() for file in FOLDER.glob("*/records")):
        time.sleep(0.01)
    server.signal(number)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_training_ends_as_without_and_all_epochs_arrive_later(
    number, prepared, server, monkeypatch
):
    train.run(prepared.model, prepared.train)
    undisturbed = sha256(artifacts.MODEL), sha256(artifacts.HISTORY)
    shutil.rmtree(artifacts.MODEL.parent)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    threading.Thread(target=_after_the_first_epoch, args=(server, number), daemon=True).start()
    # A process of its own, because a stage ends with its process, whatever a thread waits for.
    code = (
        "import sys, pickle; from pipelines import train; from tests.conftest import "
        "_two_convolutions; from components.model import backbones; "
        "backbones.compact = _two_convolutions; train.run(*pickle.load(sys.stdin.buffer))"
    )
    given = pickle.dumps((prepared.model, prepared.train))
    own = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=own, input=given, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert "records wait for MLflow" in done.stdout.decode() + done.stderr.decode()
    assert (sha256(artifacts.MODEL), sha256(artifacts.HISTORY)) == undisturbed

    if number == signal.SIGKILL:
        server.start()
    else:
        server.signal(signal.SIGCONT)
    assert deliver_records()
    assert journal_folders() == []
    run = run_of_model(undisturbed[0])
    assert run is not None
    history = pd.read_csv(artifacts.HISTORY)
    losses = client().get_metric_history(run.id, "val_loss")
    assert [loss.step for loss in losses] == [1, 2]
    assert [loss.value for loss in losses] == pytest.approx(history["val_loss"].tolist())
    assert client().get_run(run.id).info.status == "FINISHED"
