"""`fovea reproduce` of a promoted version, from an empty folder, with Ctrl-C on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.files import sha256
from pipelines.workspace.environment import QUIET
from tests.end_to_end.conftest import run

pytestmark = pytest.mark.slow

FOVEA = f"{sys.executable} -m pipelines.commands.fovea"


@pytest.fixture(scope="module")
def promoted(first_generation: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose champion is version 1. Its dvc.lock is not committed."""
    folder = tmp_path_factory.mktemp("promoted") / "workspace"
    shutil.copytree(first_generation, folder, symlinks=True)
    run(folder, f"{FOVEA} promote 1 --reason 'every digit is right'")
    return folder


def test_the_champion_is_made_again_byte_for_byte_after_ctrl_c(
    promoted: Path, tmp_path: Path
) -> None:
    into = tmp_path / "folder"
    command = f"{FOVEA} reproduce champion --here --into {into}"
    store = sha256(promoted / "mlflow.db")
    assert (
        interrupt(f"exec {command}", promoted, until=into / "data/validate/accepted.parquet") == 130
    )
    again = json.loads(run(promoted, f"{command} --json 2>{tmp_path}/progress"))
    progress = (tmp_path / "progress").read_text()
    assert again["same"], progress
    assert sha256(into / "data/train/model.keras") == again["model"]["recorded"]
    assert [stage["stage"] for stage in again["stages"]] == [
        "ingest", "validate", "split", "prepare", "balance", "train"
    ]  # fmt: skip
    assert again["first_difference"] is None, progress
    assert again["dvc_lock"] == "this workspace, not committed"
    assert sha256(promoted / "mlflow.db") == store
    assert (into / "mlflow.db").is_file()


def interrupt(command: str, folder: Path, until: Path) -> int:
    """Run a command line, send Ctrl-C when a file appears, and return the exit status."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        command, shell=True, cwd=folder, env={**os.environ, **QUIET, "PATH": path}
    )
    deadline = time.monotonic() + 300
    while not until.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    return process.wait(60)
