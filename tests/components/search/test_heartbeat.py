"""The heartbeat: a thread that renews a claim, on a real sqlite file."""

import threading
import time

import pytest

from components.search.claims import LostTrialError
from components.search.database import create_study
from components.search.heartbeat import Heartbeat
from components.search.trials import TrialStore
from components.search.watch import Watch
from tests.components.search.conftest import add


@pytest.fixture
def store(tmp_path):
    create_study(f"sqlite:///{tmp_path}/study.db", "s", ["maximize"])
    store = TrialStore(f"sqlite:///{tmp_path}/study.db", "s")
    add(store, 0, {"x": 0})
    yield store
    store.close()


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_trial_that_trains_for_longer_than_the_grace_time_is_kept(store):
    claim = store.claim("w")
    watch = Watch(store, grace_s=3.0)
    with Heartbeat(store, claim, every_s=0.1) as heartbeat:
        end = time.monotonic() + 5.0
        while time.monotonic() < end:
            assert watch.look() == []
            heartbeat.check()
            time.sleep(0.2)
    store.complete(claim, [0.5])
    assert "heartbeat" not in [thread.name for thread in threading.enumerate()]


def test_a_worker_that_lost_its_trial_hears_of_it_while_it_trains(store):
    with Heartbeat(store, store.claim("w"), every_s=0.1) as heartbeat:
        wait_until(lambda: store.give_back(store.running()[0], "silent"))

        def lost():
            try:
                heartbeat.check()
            except LostTrialError:
                return True
            return False

        wait_until(lost)
    assert store.trials()[0].state.name == "WAITING"


def test_nothing_is_renewed_after_the_block(store):
    with Heartbeat(store, store.claim("w"), every_s=0.1):
        wait_until(lambda: store.running()[0].beat > 1)
    beat = store.running()[0].beat
    time.sleep(0.5)
    assert store.running()[0].beat == beat
