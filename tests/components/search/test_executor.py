"""Local workers: real processes, short programs instead of trainings."""

import signal
import sqlite3
import sys
import time
from contextlib import closing

import pytest

from components.errors import UserError
from components.files import is_paused
from components.search import executor
from components.search.executor import LocalWorkers
from components.search.workers import MOST_FAILURES

LIMIT_S = 240


@pytest.fixture
def workers(tmp_path):
    """A function that makes workers which run a program, as in `python -c`."""

    def make(program, count=1):
        command = [sys.executable, "-c", program]
        return LocalWorkers(count, lambda name: [*command, name], [], tmp_path / "logs")

    return make


def tend(workers, enough, wanted=1, completed=lambda: 0):
    """Tend the workers until `enough` of them have ended, and return these."""
    ended, deadline = [], time.monotonic() + LIMIT_S
    while len(ended) < enough:
        assert time.monotonic() < deadline
        ended += workers.tend(wanted, completed())
        time.sleep(0.01)
    return ended


def test_a_sentence_for_the_user_ends_the_search_at_once_with_this_sentence(workers, tmp_path):
    mark, sentence = tmp_path / "started", "data/weights/a.keras: missing; copy it. Received: None"
    program = (
        f"open({str(mark)!r}, 'a').write('x');"
        f"print('a warning\\nerror: {sentence}\\n\\nbye');"
        "raise SystemExit(1)"
    )
    with workers(program) as pool, pytest.raises(UserError) as error:
        tend(pool, 1)
    assert str(error.value) == sentence
    assert mark.read_text() == "x"


def test_an_error_of_the_program_is_tried_some_times_and_then_shown(workers, tmp_path):
    with workers("import no_such_package") as pool:
        with pytest.raises(
            UserError, match=r"end again and again.*No module named.*; see .*0\.log$"
        ):
            tend(pool, 99)
        log = (tmp_path / "logs/worker-0.log").read_text()
    assert log.count("Traceback") == MOST_FAILURES + 1


def test_workers_that_fail_between_complete_trainings_do_not_end_the_search(workers):
    complete = iter(range(1_000_000))
    with workers("raise SystemExit('no')") as pool:
        ended = tend(pool, MOST_FAILURES + 3, completed=lambda: next(complete))
    assert {worker.failed for worker in ended} == {True}
    assert ended[0].cause.startswith("it ended with exit status 1: no; see ")


def test_the_last_lines_of_an_earlier_worker_are_not_those_of_the_next(workers, tmp_path):
    """Both write into one file; only the second one ends without a sentence."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/worker-0.log").write_text("error: of an earlier search\n")
    with workers("raise SystemExit(1)") as pool:
        (ended,) = tend(pool, 1)
    assert ended.cause.startswith("it ended with exit status 1: it printed nothing; see ")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_workers_that_are_killed_are_replaced_without_end(number, workers):
    program = f"import os; os.kill(os.getpid(), {int(number)})"
    with workers(program, count=2) as pool:
        ended = tend(pool, MOST_FAILURES + 3, wanted=2)
    assert {worker.failed for worker in ended} == {False}
    assert len({worker.worker for worker in ended}) == len(ended)


def test_a_worker_that_ends_in_good_order_after_sigterm_has_not_failed(workers):
    with workers("raise SystemExit(128 + 15)") as pool:
        (ended,) = tend(pool, 1)
    assert (ended.failed, ended.cause) == (False, "it was ended by SIGTERM")


def test_after_its_with_statement_no_worker_is_left(workers):
    with workers("import time; time.sleep(100)", count=2) as pool:
        pool.tend(2, 0)
        processes = [worker.process for worker in pool._workers.values()]
        assert [process.poll() for process in processes] == [None, None]
    assert all(process.poll() is not None for process in processes)


def test_a_worker_that_is_paused_while_it_locks_the_database_is_killed(
    workers, tmp_path, monkeypatch
):
    """The search itself waits for the database meanwhile, so it cannot look after the worker."""
    monkeypatch.setattr(executor, "PAUSED_S", 1.0)
    file = tmp_path / "study.db"
    program = (
        "import os, sqlite3;"
        f"connection = sqlite3.connect({str(file)!r}, isolation_level=None);"
        "connection.execute('BEGIN IMMEDIATE');"
        f"os.kill(os.getpid(), {int(signal.SIGSTOP)})"
    )
    with workers(program) as pool, closing(sqlite3.connect(file, timeout=LIMIT_S)) as connection:
        pool.tend(1, 0)
        wait_until_locked(file)
        connection.execute("CREATE TABLE own (number INTEGER)")
        (ended,) = tend(pool, 1, wanted=0)
    assert (ended.cause, ended.failed) == ("it was paused for 1 s", False)


def test_a_worker_that_is_paused_for_a_moment_goes_on(workers, tmp_path, monkeypatch):
    monkeypatch.setattr(executor, "PAUSED_S", 2.0)
    mark = tmp_path / "went on"
    program = (
        f"import os; os.kill(os.getpid(), {int(signal.SIGSTOP)});"
        f"open({str(mark)!r}, 'w'); raise SystemExit(1)"
    )
    with workers(program) as pool:
        pool.tend(1, 0)
        (worker,) = pool._workers.values()
        while not is_paused(worker.process.pid):
            time.sleep(0.01)
        worker.process.send_signal(signal.SIGCONT)
        (ended,) = tend(pool, 1)
    assert mark.exists()
    assert ended.failed


def wait_until_locked(file):
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        try:
            with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return
        time.sleep(0.01)
    raise AssertionError("the worker does not lock the database")


def test_a_worker_that_hangs_is_killed_and_nobody_blames_the_memory(workers):
    with workers("import time; time.sleep(100)") as pool:
        pool.tend(1, 0)
        (before,) = pool._workers.values()
        pool.kill("no such worker")
        pool.kill(before.name)
        assert before.process.poll() == -signal.SIGKILL
        assert pool.tend(1, 0) == []  # The watch has already said why.
        (after,) = pool._workers.values()
        assert after.name != before.name
