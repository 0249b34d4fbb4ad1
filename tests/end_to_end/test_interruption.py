"""Ctrl-C in every stage: an end within seconds, nothing half-written, and `dvc repro` goes on."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.workspace.environment import QUIET
from pipelines.workspace.locks import remove_dead_rwlock
from tests.end_to_end.conftest import edit_params, run
from tests.end_to_end.test_repro import STAGES


@pytest.mark.slow
def test_ctrl_c_in_any_stage_loses_nothing(clone, first_generation):
    folder = clone("interrupted")
    for stage in STAGES:
        seconds = interrupt(folder, stage)
        assert seconds < 10, f"{stage} took {seconds:.1f} s to end"
        assert list((folder / "data").rglob("*.part")) == []
        remove_dead_rwlock(folder)  # as the flow does: DVC may be hit while it writes its lock
        run(folder, f"dvc repro {stage}")
    same = ("dvc.lock", "data/train/model.keras", "data/evaluate/report.html")
    for name in same:
        assert (folder / name).read_bytes() == (first_generation / name).read_bytes(), name


@pytest.mark.slow
def test_ctrl_c_and_sigterm_in_the_middle_of_training_end_it_and_its_run(continued):
    edit_params(continued, {"train": {"finetune": {"epochs": 500},
                                      "early_stopping": {"patience": 500}}})  # fmt: skip
    run(continued, "dvc repro search")
    for number in (signal.SIGINT, signal.SIGTERM):
        assert interrupt(continued, "train", "train: phase finetune  epoch ", number) < 10
        assert not (continued / "data/train/model.keras").exists()
        remove_dead_rwlock(continued)
    with closing(sqlite3.connect(continued / "mlflow.db")) as store:
        query = (
            "SELECT status FROM runs JOIN tags ON runs.run_uuid = tags.run_uuid "
            "AND key = 'stage' AND value = 'train' ORDER BY start_time DESC LIMIT 2"
        )
        assert store.execute(query).fetchall() == [("KILLED",), ("KILLED",)]


def interrupt(folder: Path, stage: str, after: str = "", number: int = signal.SIGINT) -> float:
    """Start a stage, press Ctrl-C once it is at work, and return the seconds until all is gone.

    number: the signal that is sent to all processes.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        ["dvc", "repro", stage],
        cwd=folder,
        env={**os.environ, **QUIET, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # as a terminal does: Ctrl-C reaches the whole group
    )
    assert process.stdout
    for line in process.stdout:
        if line.startswith(after or f"> python -m pipelines {stage}"):
            break
    time.sleep(0 if after else 0.7)
    start = time.monotonic()
    os.killpg(process.pid, number)
    process.stdout.read()
    process.stdout.close()
    process.wait()
    return time.monotonic() - start
