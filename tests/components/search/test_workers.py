"""Real worker processes on one store: killed, paused, and continued."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from components.search.claims import LostTrialError
from components.search.trials import TrialStore
from components.search.watch import Watch
from tests.components.search.conftest import add

pytestmark = pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
TRIALS = 60
GRACE_S = 4.0


def work(url, name, folder):
    """Run trials until none is left. Each trial takes about 0.2 s and leaves notes in the folder.

    A note is a new file. If two workers ran the same attempt of a trial, the second one would end
    with FileExistsError.
    """
    store = TrialStore(url, "s")
    folder = Path(folder)
    while True:
        claim = store.claim(name)
        if claim is None:
            if all(trial.state.is_finished() for trial in store.trials()):
                return
            time.sleep(0.1)
            continue
        attempt = f"{claim.number}-{claim.attempt}"
        (folder / f"began-{attempt}").touch(exist_ok=False)
        try:
            for step in (1, 2, 3):
                (folder / f"busy-{name}").touch()  # Not in the middle of a transaction.
                time.sleep(0.06)
                (folder / f"busy-{name}").unlink()
                store.renew(claim)
                store.report(claim, {step: float(claim.attempt)})
            store.complete(claim, [claim.number + claim.attempt / 10])
        except LostTrialError:
            (folder / f"lost-{attempt}").touch(exist_ok=False)
        else:
            (folder / f"done-{attempt}").touch(exist_ok=False)


class Pool:
    """Worker processes, and the coordinator that watches them."""

    def __init__(self, url, folder):
        self.url, self.folder = url, folder
        self.store = TrialStore(url, "s")
        for number in range(TRIALS):
            add(self.store, number, {"x": number})
        self.processes = {}
        self.watch = Watch(self.store, GRACE_S)
        self.taken = []

    def start(self):
        name = f"w{len(self.processes)}"
        program = (
            "from tests.components.search import test_workers as t;"
            f"t.work({self.url!r}, {name!r}, {str(self.folder)!r})"
        )
        self.processes[name] = subprocess.Popen([sys.executable, "-c", program])

    def look_until(self, condition, limit_s=120):
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline
            self.taken += self.watch.look()
            time.sleep(0.1)

    def finished(self):
        return sum(trial.state.is_finished() for trial in self.store.trials())

    def running(self):
        """Return the names of the live workers that run a trial."""
        claims = [claim.worker for claim in self.store.running()]
        return [name for name in claims if self.processes[name].poll() is None]

    def end(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        self.store.close()


@pytest.fixture
def pool(study, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    pool = Pool(study, folder)
    for _ in range(4):
        pool.start()
    yield pool
    pool.end()


def check_all_finished_once(pool, deaths):
    trials = pool.store.trials()
    assert [trial.number for trial in trials] == list(range(TRIALS))
    notes = {kind: sorted(pool.folder.glob(f"{kind}-*")) for kind in ("began", "done", "lost")}
    done = [note.name.split("-")[1] for note in notes["done"]]
    assert len(done) == len(set(done))  # Nobody finished what another one had finished.
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    for trial in trials:
        if trial not in failed:
            assert trial.state == TrialState.COMPLETE
            attempt = trial.system_attrs["fovea:attempt"]
            assert trial.value == trial.number + attempt / 10  # The value of the last attempt.
            assert trial.intermediate_values[3] == attempt
    # A trial costs one more attempt for each death, and a trial with two deaths has failed.
    assert len(pool.taken) <= deaths
    assert len(notes["began"]) <= TRIALS + len(pool.taken) - len(failed)
    assert all("died 2 times" in trial.user_attrs["failure"] for trial in failed)
    assert len(failed) <= deaths // 2
    return notes


def test_workers_that_are_killed_lose_nothing(pool):
    chance = random.Random(1)
    killed = []
    while len(killed) < 3:
        pool.look_until(lambda: len(pool.running()) >= 2)
        time.sleep(chance.uniform(0, 0.2))
        for name in pool.running()[:1]:
            pool.processes[name].kill()
            pool.processes[name].wait()
            killed.append(name)
            pool.start()
    pool.look_until(lambda: pool.finished() == TRIALS)
    check_all_finished_once(pool, len(killed))
    for name, process in pool.processes.items():
        assert process.wait(timeout=30) == (-signal.SIGKILL if name in killed else 0)


def test_a_worker_that_was_paused_and_comes_back_writes_nothing(pool):
    pool.look_until(lambda: len(pool.running()) == 4)
    paused = {}
    for name in pool.running()[:2]:
        pool.look_until(lambda name=name: pause_while_busy(pool, name))
        paused[name] = next(claim for claim in pool.store.running() if claim.worker == name)
    # The trials of both are taken, and other workers finish them.
    pool.look_until(lambda: len(pool.taken) == 2)
    assert {claim.worker for claim in pool.taken} == set(paused)
    numbers = [claim.number for claim in paused.values()]
    pool.look_until(lambda: all(pool.store.trials()[n].state.is_finished() for n in numbers))
    before = [pool.store.trials()[number] for number in numbers]
    for name in paused:
        pool.processes[name].send_signal(signal.SIGCONT)
    lost = [pool.folder / f"lost-{claim.number}-{claim.attempt}" for claim in paused.values()]
    pool.look_until(lambda: all(note.exists() for note in lost))
    pool.look_until(lambda: pool.finished() == TRIALS)
    assert [pool.store.trials()[number] for number in numbers] == before
    notes = check_all_finished_once(pool, deaths=2)
    assert notes["lost"] == sorted(lost)
    assert [trial.state for trial in before] == [TrialState.COMPLETE] * 2
    assert all(process.wait(timeout=30) == 0 for process in pool.processes.values())


def pause_while_busy(pool, name):
    """Pause a worker between two writes, and return whether it worked."""
    busy = pool.folder / f"busy-{name}"
    if not busy.exists():
        return False
    pool.processes[name].send_signal(signal.SIGSTOP)
    time.sleep(0.05)
    if busy.exists():
        return True
    pool.processes[name].send_signal(signal.SIGCONT)
    return False


def test_a_worker_that_is_paused_in_a_transaction_does_not_block_the_others(study, tmp_path):
    """sqlite: the coordinator kills it. PostgreSQL ends its transaction."""
    store = TrialStore(study, "s", patience_s=60)
    for number in range(2):
        add(store, number, {"x": number})
    program = (
        "import os, signal; from components.search.trials import TrialStore;"
        f"s = TrialStore({study!r}, 's'); c = s.claim('paused');"
        "s._change_own(c, lambda session, trial: ("
        "    session.flush(), os.kill(os.getpid(), signal.SIGSTOP)))"
    )
    worker = subprocess.Popen([sys.executable, "-c", program])
    try:
        while not os.waitid(os.P_PID, worker.pid, os.WSTOPPED | os.WNOWAIT):
            pass
        stop = (lambda claim: worker.kill()) if study.startswith("sqlite") else lambda claim: None
        watch = Watch(store, 2.0, stop)
        taken = []
        while not taken:
            taken = watch.look()
            time.sleep(0.2)
        assert taken[0].worker == "paused"
        claim = store.claim("other")
        assert (claim.number, claim.attempt) == (0, 2)
        store.complete(claim, [0.5])
    finally:
        worker.kill()
        worker.wait()
        store.close()
