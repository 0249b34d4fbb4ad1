"""The workspace lock → one run at a time, and no dead one in the way."""

import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipelines.workspace import locks
from pipelines.workspace.processes import CommandFailedError

HOLD = """
import sys, time
from pathlib import Path
from pipelines.workspace import locks
with locks.hold(Path(sys.argv[1]), "first run", print) as lock:
    if len(sys.argv) > 2:
        import subprocess
        subprocess.Popen(["sleep", "2"], pass_fds=[lock], stdout=subprocess.DEVNULL)
    print("held", flush=True)
    time.sleep(600)
"""


def hold(root: Path, *more: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root), *more], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.stdout.close()
    return process


def test_a_second_run_waits_and_says_who_holds_the_workspace(tmp_path: Path) -> None:
    first = hold(tmp_path)
    said: list[str] = []
    entered = threading.Event()

    def second_run() -> None:
        with locks.hold(tmp_path, "second run", said.append):
            entered.set()

    second = threading.Thread(target=second_run)
    second.start()
    assert not entered.wait(timeout=1.5)
    assert len(said) == 1
    assert f"held by `first run` (process {first.pid} on " in said[0]
    first.kill()
    first.wait()
    assert entered.wait(timeout=5)
    second.join()


def test_a_killed_holder_blocks_no_other_run(tmp_path: Path) -> None:
    first = hold(tmp_path)
    first.send_signal(signal.SIGKILL)
    first.wait()
    said: list[str] = []
    with locks.hold(tmp_path, "second run", said.append):
        assert said == []


def test_the_lock_outlives_a_killed_holder_as_long_as_its_child(tmp_path: Path) -> None:
    first = hold(tmp_path, "with a child of two seconds")
    first.kill()
    first.wait()
    started = time.monotonic()
    with locks.hold(tmp_path, "second run", lambda _: None):
        assert time.monotonic() - started > 1


def test_an_exception_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ValueError), locks.hold(tmp_path, "a run", print):
        raise ValueError
    assert locks.holder(tmp_path) is None


def test_holder_is_named_while_the_lock_is_held(tmp_path: Path) -> None:
    assert locks.holder(tmp_path) is None
    with locks.hold(tmp_path, "a run", print):
        assert "`a run` (process " in str(locks.holder(tmp_path))
    assert locks.holder(tmp_path) is None


@pytest.mark.parametrize("content", ["", '{"write": {'])
def test_a_torn_rwlock_of_a_dead_dvc_is_removed(tmp_path: Path, content: str) -> None:
    rwlock = write_rwlock(tmp_path, content)
    with locks.hold(tmp_path, "a run", print):
        assert not rwlock.exists()


def test_a_torn_rwlock_stays_while_a_living_dvc_writes_it(tmp_path: Path) -> None:
    rwlock = write_rwlock(tmp_path, "")
    with rwlock.with_name("rwlock.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        assert locks.dead_rwlock(tmp_path) is None
        assert not locks.remove_dead_rwlock(tmp_path)
    assert rwlock.exists()
    assert locks.dead_rwlock(tmp_path) == rwlock


def test_a_dvc_started_by_hand_is_waited_for(tmp_path: Path) -> None:
    other = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(1.5,))
    other.start()
    info = {"pid": other.pid, "cmd": "dvc repro train"}
    write_rwlock(tmp_path, json.dumps({"write": {"data/train": info}}))
    said: list[str] = []
    with locks.hold(tmp_path, "a run", said.append):
        assert not other.is_alive()
    assert said[0] == (
        f"waiting for this workspace, held by `dvc repro train` (process {other.pid})"
    )


def test_a_dvc_that_died_is_not_waited_for(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    info = {"pid": dead.pid, "cmd": "dvc repro"}
    write_rwlock(tmp_path, json.dumps({"read": {"params.yaml": [info]}}))
    assert locks.dvc_holder(tmp_path) is None


def holding(pid: int) -> str:
    return json.dumps({"write": {"data/train": {"pid": pid, "cmd": "dvc repro"}}})


def test_our_own_number_in_the_rwlock_is_a_dead_dvc_that_had_it_before(tmp_path: Path) -> None:
    rwlock = write_rwlock(tmp_path, holding(os.getpid()))
    said: list[str] = []
    with locks.hold(tmp_path, "a run", said.append):
        assert not rwlock.exists()  # DVC itself would fail on it
    assert said == ["removed .dvc/tmp/rwlock, which a killed DVC process left"]


def test_messages_go_to_the_logger_where_no_function_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rwlock(tmp_path, "")
    with locks.hold(tmp_path, "a run"):
        assert capsys.readouterr().out.startswith("removed .dvc/tmp/rwlock")


@pytest.fixture
def sleeping(request: pytest.FixtureRequest) -> Iterator[int]:
    """The number of a process that does nothing, of the program that the test names."""
    with subprocess.Popen(request.param) as process:
        while not psutil.Process(process.pid).cmdline():
            time.sleep(0.01)
        yield process.pid
        process.kill()


PYTHON = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_dvc_that_is_a_zombie_is_not_waited_for(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    write_rwlock(tmp_path, holding(ended.pid))
    assert locks.dvc_holder(tmp_path) is None
    ended.wait()


@pytest.mark.parametrize("sleeping", [["sleep", "60"]], indirect=True)
def test_a_process_that_is_no_dvc_does_not_hold_the_workspace(
    tmp_path: Path, sleeping: int
) -> None:
    rwlock = write_rwlock(tmp_path, holding(sleeping))
    assert locks.dvc_holder(tmp_path) is None
    assert locks.remove_dead_rwlock(tmp_path)
    assert not rwlock.exists()


@pytest.mark.parametrize("sleeping", [PYTHON], indirect=True)
def test_a_process_younger_than_the_rwlock_does_not_hold_the_workspace(
    tmp_path: Path, sleeping: int
) -> None:
    rwlock = write_rwlock(tmp_path, holding(sleeping))
    assert f"(process {sleeping})" in str(locks.dvc_holder(tmp_path))
    assert not locks.remove_dead_rwlock(tmp_path)
    an_hour_ago = time.time() - 3600
    os.utime(rwlock, (an_hour_ago, an_hour_ago))
    assert locks.dvc_holder(tmp_path) is None
    assert locks.remove_dead_rwlock(tmp_path)


def write_rwlock(root: Path, content: str) -> Path:
    path = root / ".dvc/tmp/rwlock"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    return path


def test_the_lock_is_not_inherited_by_chance(tmp_path: Path) -> None:
    with locks.hold(tmp_path, "a run", print) as lock:
        assert not os.get_inheritable(lock)


def test_a_busy_dvc_is_tried_again_and_another_failure_is_not(tmp_path: Path) -> None:
    answers = ["'a' is busy, it is being blocked by:", "'b' is busy, it is being blocked by:", ""]

    def run_dvc() -> str:
        if answer := answers.pop(0):
            raise CommandFailedError(answer)
        return "done"

    assert locks.when_dvc_is_free(tmp_path, run_dvc) == "done"
    answers[:] = ["dvc.yaml is not valid", ""]
    with pytest.raises(CommandFailedError, match="not valid"):
        locks.when_dvc_is_free(tmp_path, run_dvc)
    answers[:] = ["it is being blocked by:"] * (locks.BUSY_TRIES + 1)
    with pytest.raises(CommandFailedError, match="blocked"):
        locks.when_dvc_is_free(tmp_path, run_dvc)
    assert len(answers) == 1
