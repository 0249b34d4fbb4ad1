"""kill -9 at any moment of the first four stages or of train, run again, and get what undisturbed
runs give.

FOVEA_KILLS says how often each stage is killed. Where it is not set, a stage is killed 3 times, and
train 8 times. `FOVEA_KILLS=20 make slow` is what a change of the checkpoints needs.
"""

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from pipelines.workspace.environment import QUIET
from pipelines.workspace.locks import remove_dead_rwlock
from tests.end_to_end.conftest import edit_params, run

STAGES = ("ingest", "validate", "split", "prepare")
KILLS = int(os.environ.get("FOVEA_KILLS", "3"))
KILLS_OF_TRAIN = int(os.environ.get("FOVEA_KILLS", "8"))
IN_A_ROW = 4  # kills of a training before it may end


@pytest.fixture(scope="module")
def clone_before(
    clone: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A function that returns a clone in which the stages before a stage have run, and no other."""

    @cache
    def clone_before(stage: str) -> Path:
        if stage == STAGES[0]:
            return clone("before")
        earlier = STAGES[STAGES.index(stage) - 1]
        folder = tmp_path_factory.mktemp("before") / stage
        shutil.copytree(clone_before(earlier), folder, symlinks=True)
        run(folder, f"dvc repro {earlier}")
        return folder

    return clone_before


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_ends_as_an_undisturbed_one(
    stage: str, clone_before: Callable[[str], Path], first_generation: Path, tmp_path: Path
) -> None:
    before = clone_before(stage)
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


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_as_an_undisturbed_one(
    continued: Path, first_generation: Path, tmp_path: Path
) -> None:
    before = continued
    # A cache of its own, so that no training is taken from the cache instead of being run.
    (before / ".dvc/config.local").unlink()
    shutil.copytree(first_generation / ".dvc/cache", before / ".dvc/cache", dirs_exist_ok=True)
    shutil.rmtree(before / "data/train")
    weights = "data/weights/start.keras"  # so that there is a phase `head`
    shutil.copy(first_generation / "data/train/model.keras", before / weights)
    epochs = {"head": {"epochs": 8}, "finetune": {"epochs": 8}, "early_stopping": {"patience": 9}}
    edit_params(before, {"model": {"weights": weights}, "train": epochs})
    run(before, "dvc repro search")

    undisturbed = shutil.copytree(before, tmp_path / "undisturbed", symlinks=True)
    printed = epochs_in(run(undisturbed, "dvc repro train"))  # of quick epochs, only some
    assert {phase for phase, _ in printed} == {"head", "finetune"}
    chance = random.Random("train")
    for _ in range(-(-KILLS_OF_TRAIN // IN_A_ROW)):
        folder = shutil.copytree(before, tmp_path / "killed", symlinks=True)
        check_killed_training(folder, undisturbed, printed, chance)
        shutil.rmtree(folder)


def check_killed_training(
    folder: Path, undisturbed: Path, printed: list[tuple[str, int]], chance: random.Random
) -> None:
    """Kill a training IN_A_ROW times, each time after a later epoch, and let it end."""
    outputs = []
    places = sorted(chance.sample(range(len(printed)), IN_A_ROW))
    for phase, epoch in map(printed.__getitem__, places):
        seconds, line = chance.uniform(0, 0.5), f"phase {phase}  epoch {epoch} of"
        outputs.append(kill_after(folder, "train", seconds, line))
        remove_dead_rwlock(folder)
        remove_torn_lock(folder)
        if (folder / "data/train/model.keras").exists():
            outputs.clear()  # The training was finished, so its checkpoints are gone.
    outputs.append(run(folder, "dvc repro train"))
    assert written(folder, "train") == written(undisturbed, "train")
    order = [(phase, number) for phase in ("head", "finetune") for number in range(1, 9)]
    done = [[order.index(epoch) for epoch in epochs_in(output)] for output in outputs]
    for earlier, later in pairwise(filter(None, done)):
        assert later[0] - earlier[-1] in (0, 1), "at most one epoch is done twice"


def epochs_in(output: str) -> list[tuple[str, int]]:
    """Return phase and number of the epochs that a training says it has done."""
    return [(p, int(e)) for p, e in re.findall(r"train: phase (\w+)  epoch (\d+) of", output)]


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


def kill_after(folder: Path, stage: str, seconds: float, line: str = "") -> str:
    """Start a stage, kill it after so many seconds, DVC and all, and return what it printed.

    line: the seconds are counted from the moment when the stage has printed this text.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    log = folder / "killed.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["dvc", "repro", stage],
            cwd=folder,
            env={**os.environ, **QUIET, "PATH": path},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own, which is killed as a whole
        )
        while line not in log.read_text() and process.poll() is None:
            time.sleep(0.02)
        time.sleep(seconds)
        with suppress(ProcessLookupError):  # it has ended already
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return log.read_text()


def written(folder: Path, stage: str) -> dict[str, str]:
    """Return the sha256 of every file that the stage leaves, by name."""
    files = sorted(path for path in (folder / "data" / stage).rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in files]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return {n: h for n, h in zip(names, hashes, strict=True) if not n.endswith(".gitignore")}
