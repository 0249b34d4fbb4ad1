"""kill -9 at any moment of the first four stages, run again, and get what undisturbed runs give.

FOVEA_KILLS says how often each stage is killed; 3 times where it is not set.
"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipelines.workspace.environment import QUIET
from pipelines.workspace.locks import remove_dead_rwlock
from tests.end_to_end.conftest import run

STAGES = ("ingest", "validate", "split", "prepare")
KILLS = int(os.environ.get("FOVEA_KILLS", "3"))


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_ends_as_an_undisturbed_one(
    stage: str, clone: Callable[[str], Path], first_generation: Path, tmp_path: Path
) -> None:
    before = clone(f"before-{stage}")
    if stage != STAGES[0]:
        run(before, f"dvc repro {STAGES[STAGES.index(stage) - 1]}")
    chance = random.Random(stage)
    taken_s = killed_s = 0.0
    for number in range(KILLS + 1):
        folder = tmp_path / str(number)
        shutil.copytree(before, folder, symlinks=True)
        start = time.monotonic()
        if number:  # the first goes undisturbed: how long that takes
            killed_s = chance.uniform(0, taken_s)
            kill_after(folder, stage, killed_s)
            # DVC writes this lock in two steps, and cannot read one that it left half done. The
            # flow and `fovea doctor` see to it; see pipelines.workspace.locks.
            remove_dead_rwlock(folder)
            remove_torn_lock(folder)
        run(folder, f"dvc repro {stage}")
        taken_s = taken_s or time.monotonic() - start
        assert written(folder, stage) == written(first_generation, stage), f"{killed_s:.2f} s"
        shutil.rmtree(folder)


def remove_torn_lock(folder: Path) -> None:
    """Remove a dvc.lock of which DVC had written a part only: it writes the file in place.

    DVC then stops with "validation failed". Without the file it takes results from its run cache.
    """
    lock = folder / "dvc.lock"
    try:
        stages = yaml.safe_load(lock.read_text())["stages"].values() if lock.exists() else []
        torn = any("cmd" not in stage for stage in stages)
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        torn = True
    if torn:
        lock.unlink()


def kill_after(folder: Path, stage: str, seconds: float) -> None:
    """Start a stage and kill it, DVC and all, after so many seconds."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        ["dvc", "repro", stage],
        cwd=folder,
        env={**os.environ, **QUIET, "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a group of its own, which is killed as a whole
    )
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def written(folder: Path, stage: str) -> dict[str, str]:
    """Return the sha256 of every file that the stage leaves, by name."""
    files = sorted(path for path in (folder / "data" / stage).rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in files]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return {n: h for n, h in zip(names, hashes, strict=True) if not n.endswith(".gitignore")}
