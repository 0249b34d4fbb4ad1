"""Work on all cores: in order, to the end or not at all, and no process is left behind."""

import math
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from components import parallel
from components.errors import UserError
from components.parallel import in_processes, in_threads

ROOT = Path(__file__).parents[2]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand work to processes from the second input on, on two cores."""
    monkeypatch.setattr(parallel, "START_S", 0)
    monkeypatch.setattr(parallel, "cores", lambda: 2)


def test_threads_keep_the_order_and_stop_at_an_error() -> None:
    assert list(in_threads(lambda x: x * x, range(500))) == [x * x for x in range(500)]
    begun: list[int] = []

    def fail_at_three(x: int) -> None:
        begun.append(x)
        time.sleep(0.01)
        if x == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(in_threads(fail_at_three, range(10_000)))
    assert len(begun) <= 5 * parallel.TO_THREAD * os.cpu_count()
    assert threading.active_count() < 20


def test_processes_keep_the_order(at_once: None) -> None:
    assert list(in_processes(operator.neg, range(1000))) == [-x for x in range(1000)]


def test_processes_start_although_the_path_of_temporary_files_is_long(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)  # longer than the path of a socket may be
    folder.mkdir()
    code = (
        "import operator; from components import parallel; parallel.START_S = 0; "
        "parallel.cores = lambda: 2; print(sum(parallel.in_processes(operator.neg, range(100))))"
    )
    environment = {**os.environ, "TMPDIR": str(folder)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("-4950\n", "")


def test_ctrl_c_while_the_workers_start_prints_no_traceback() -> None:
    program = (
        "import os, signal\n"
        "from multiprocessing import forkserver\n"
        "from components import parallel\n"
        "parallel.START_S, parallel.cores = 0, lambda: 2\n"
        "start = forkserver.ensure_running\n"
        "def press_ctrl_c():\n"
        "    start()\n"
        "    os.killpg(0, signal.SIGINT)\n"
        "forkserver.ensure_running = press_ctrl_c\n"
        "try:\n"
        "    list(parallel.in_processes(eval, ['1'] * 1000))\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, start_new_session=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def test_work_is_done_by_others_and_little_work_here(at_once: None) -> None:
    parents = list(in_processes(eval, ["__import__('os').getpid()"] * 300))
    assert parents[0] == os.getpid()
    assert len(set(parents)) > 1


def test_without_an_input_nothing_starts() -> None:
    assert list(in_processes(operator.neg, [])) == []


def test_an_error_of_the_work_comes_out(at_once: None) -> None:
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        list(in_processes(math.sqrt, [*range(200), -1, *range(200)]))


def test_processes_drop_what_has_not_begun_when_they_are_interrupted(
    at_once: None, tmp_path: Path
) -> None:
    mark = "__import__('pathlib').Path({!r}).touch(), __import__('time').sleep(0.05)"
    marks = [mark.format(str(tmp_path / str(n))) for n in range(999)]
    running = in_processes(eval, marks)
    next(running), next(running)
    running.close()  # as an interrupt in the loop does
    assert len(list(tmp_path.iterdir())) <= 2 * parallel.TO_PROCESS + 4


def test_a_killed_worker_is_one_sentence(at_once: None) -> None:
    with pytest.raises(UserError, match="was killed, most likely because memory ran out"):
        list(in_processes(signal.raise_signal, [signal.SIGCONT, *[signal.SIGKILL] * 100]))


def test_workers_end_when_their_parent_is_killed() -> None:
    program = (
        "import itertools, time\n"
        "from components import parallel\n"
        "parallel.START_S, parallel.cores = 0, lambda: 2\n"
        "work = itertools.repeat('__import__(\"os\").getpid()')\n"
        "if __name__ == '__main__':\n"
        "    for pid in parallel.in_processes(eval, work):\n"
        "        print(pid, flush=True)\n"
        "        time.sleep(0.001)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    seen = {int(parent.stdout.readline()) for _ in range(300)}
    workers = seen - {parent.pid}
    assert workers
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in workers):
            return
        time.sleep(0.1)
    pytest.fail(f"{workers} go on without their parent")
