"""The stage `train` on two machines, here two processes on loopback, as on one machine."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.model.model_file import read_classifier
from components.params.hyperparameters import Hyperparameters
from components.tracking.connection import client
from pipelines import artifacts
from pipelines.formats import write_tree

ROOT = Path(__file__).parents[2]
FRESH = {"model.width": 0.25, "train.finetune.epochs": 1}
# The phase `head`, too. The machine is killed in its second epoch.
WARM = FRESH | {
    "model.weights": "data/weights/first.keras",
    "train.head.epochs": 3,
    "train.finetune.epochs": 3,
    "train.early_stopping.patience": 20,
}


def _start(folder: Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines", "train"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _start_both(first: Path, second: Path) -> list[subprocess.Popen[str]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    group = {"FOVEA_MACHINES": "2", "FOVEA_COORDINATOR": address}
    return [
        _start(folder, FOVEA_MACHINE=str(number), **group)
        for number, folder in enumerate((first, second))
    ]


def _end(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return out, errors


def _contents(folder: Path) -> dict[Path, bytes]:
    """Return the files of a workspace, but not the stored features, which a machine may add."""
    files = (path for path in folder.rglob("*") if path.is_file() and "features" not in path.parts)
    return {path: path.read_bytes() for path in files}


@pytest.mark.slow
def test_two_machines_train_the_model_of_one_even_if_the_first_is_killed(
    prepared: Hyperparameters, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    write_tree(artifacts.HYPERPARAMETERS, FRESH)
    _end(_start(tmp_path))
    Path("data/weights").mkdir()
    artifacts.MODEL.rename("data/weights/first.keras")
    write_tree(artifacts.HYPERPARAMETERS, WARM)
    other = shutil.copytree(tmp_path, tmp_path_factory.mktemp("other") / "workspace")
    before = _contents(other)
    _end(_start(tmp_path))
    alone = [artifacts.MODEL.rename("alone.keras"), artifacts.HISTORY.rename("alone.csv")]

    first, second = _start_both(tmp_path, other)
    while not list((artifacts.STATE / "checkpoints").glob("*/*.checkpoint")):
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.02)
    first.kill()
    errors = second.communicate(timeout=120)[1].splitlines()
    assert second.returncode == 1
    assert len(errors) == 1, errors
    assert "has ended or cannot be reached" in errors[0]
    assert "start the same command again on every machine" in errors[0]
    first.communicate()

    first, second = _start_both(tmp_path, other)
    out, _ = _end(first)
    _, errors_of_second = _end(second)
    assert "an unfinished training goes on after epoch" in out
    assert "Gloo" not in out
    assert errors_of_second == ""
    assert _contents(other) == before
    [experiment] = client().search_experiments(filter_string="name = 'fovea'")
    runs = client().search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED", "KILLED", "FINISHED", "FINISHED"]

    models = (read_classifier(path).model.get_weights() for path in (artifacts.MODEL, alone[0]))
    for two, one in zip(*models, strict=True):
        # The sums have another order, and each step makes the differences larger.
        np.testing.assert_allclose(two, one, atol=1e-3)
    histories = [pd.read_csv(path) for path in (artifacts.HISTORY, alone[1])]
    pd.testing.assert_frame_equal(*histories, rtol=1e-3)
    assert histories[0]["phase"].tolist() == 3 * ["head"] + 3 * ["finetune"]
