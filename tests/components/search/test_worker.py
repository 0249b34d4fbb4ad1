"""The loop of one worker: what is in the database when a trial has ended, and when it was lost."""

import math
import threading
import time

import pytest

from components.errors import UserError
from components.search import worker as worker_module
from components.search.database import create_study
from components.search.pruning import MedianRule
from components.search.rungs import Rungs
from components.search.tasks import PrunedError
from components.search.worker import work
from components.training.limits import TrainingFailedError
from tests.components.search.conftest import add

CURVE = {1: 0.25, 2: math.nan, 3: 0.75}
STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "given back": "WAITING"}


@pytest.fixture
def rungs(tmp_path):
    """Three trials that wait, in a real sqlite file."""
    url = f"sqlite:///{tmp_path}/study.db"
    create_study(url, "s", ["maximize"])
    rungs = Rungs(url, "s")
    for number in range(3):
        add(rungs.first, number, {"x": number})
    yield rungs
    rungs.close()


def run(rungs, train, most=1, rule=None):
    return work(rungs, "w", ["quality"], train, every_s=60.0, most=most, rule=rule)


def same(curve, expected):
    """Return whether two curves are equal; NaN equals NaN."""
    return curve.keys() == expected.keys() and all(
        value == expected[epoch] or (math.isnan(value) and math.isnan(expected[epoch]))
        for epoch, value in curve.items()
    )


@pytest.mark.parametrize("end", STATES)
def test_all_epochs_are_written_however_a_trial_ends(rungs, end):
    def train(task, on_value):
        for epoch, value in CURVE.items():
            on_value(epoch, value)
        assert rungs.first.trials()[0].intermediate_values == {}  # They wait for the end.
        if end == "pruned":
            raise PrunedError
        if end == "failed":
            raise TrainingFailedError("the loss is NaN")
        if end == "given back":
            raise UserError("the disk is full")
        return {"quality": 0.5}

    if end == "given back":
        with pytest.raises(UserError, match="the disk is full"):
            run(rungs, train)
    else:
        assert run(rungs, train) == 1
    row = rungs.first.trials()[0]
    assert row.state.name == STATES[end]
    assert same(row.intermediate_values, CURVE)


def test_an_epoch_is_written_with_all_before_it_when_the_last_time_is_long_ago(rungs, monkeypatch):
    monkeypatch.setattr(worker_module, "WRITE_EVERY_S", 0.3)

    def train(task, on_value):
        on_value(1, 0.1)
        on_value(2, 0.2)
        assert rungs.first.trials()[0].intermediate_values == {}
        time.sleep(0.4)
        on_value(3, 0.3)
        assert rungs.first.trials()[0].intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}
        on_value(4, 0.4)
        assert 4 not in rungs.first.trials()[0].intermediate_values
        return {"quality": 0.5}

    run(rungs, train)
    assert 4 in rungs.first.trials()[0].intermediate_values


def test_with_a_rule_each_epoch_is_written_at_once(rungs):
    """Other workers compare their trials with it."""

    def train(task, on_value):
        on_value(1, 0.1)
        assert rungs.first.trials()[0].intermediate_values == {1: 0.1}
        return {"quality": 0.5}

    run(rungs, train, rule=MedianRule(3, "maximize"))
    assert rungs.first.trials()[0].state.name == "COMPLETE"


def lose(rungs):
    """Take the trial from its worker, and give it to another one."""
    (claim,) = rungs.first.running()
    assert rungs.first.give_back(claim, "silent")
    assert rungs.first.claim("another worker")


@pytest.mark.parametrize(
    "error", [TrainingFailedError("the loss is NaN"), MemoryError(), PrunedError(), None]
)
@pytest.mark.parametrize("epochs", [0, 1])
def test_a_worker_whose_trial_was_lost_goes_on_with_the_next_one(rungs, caplog, error, epochs):
    trained = []

    def train(task, on_value):
        trained.append(task.trial)
        if task.trial == 0:
            if epochs:
                on_value(1, 0.9)
            lose(rungs)
            if error:
                raise error
        return {"quality": 0.5}

    assert run(rungs, train, most=2) == 2
    assert trained == [0, 1]
    rows = rungs.first.trials()
    assert [row.state.name for row in rows] == ["RUNNING", "COMPLETE", "WAITING"]
    assert rows[0].intermediate_values == {}
    assert rows[0].user_attrs["worker"] == "another worker"
    (record,) = caplog.records
    assert record.message.startswith("trial 0, attempt 1 of w, is now RUNNING in attempt 2; it is")


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(143), UserError("the disk is full"), ValueError("x")]
)
@pytest.mark.parametrize("epochs", [0, 1])
def test_what_ends_a_worker_ends_it_also_if_its_trial_was_lost(rungs, error, epochs):
    def train(task, on_value):
        if epochs:
            on_value(1, 0.9)
        lose(rungs)
        raise error

    with pytest.raises(type(error)) as raised:
        run(rungs, train, most=2)
    assert raised.value is error
    assert [row.state.name for row in rungs.first.trials()] == ["RUNNING", "WAITING", "WAITING"]


@pytest.mark.parametrize(
    ("error", "state"),
    [(KeyboardInterrupt(), "WAITING"), (SystemExit(143), "WAITING"), (ValueError("x"), "FAIL")],
)
def test_what_ends_a_worker_ends_its_trial_in_good_order(rungs, error, state):
    def train(task, on_value):
        raise error

    with pytest.raises(type(error)):
        run(rungs, train)
    row = rungs.first.trials()[0]
    assert row.state.name == state
    assert row.user_attrs.get("failure") == ("ValueError: x" if state == "FAIL" else None)
    assert row.system_attrs["fovea:deaths"] == 0


def test_sigterm_while_a_result_is_written_gives_the_trial_back(rungs, monkeypatch):
    """The handler of SIGTERM may raise SystemExit in any line."""

    def interrupted(claim, reason):
        raise SystemExit(143)

    monkeypatch.setattr(rungs.first, "fail", interrupted)

    def train(task, on_value):
        raise TrainingFailedError("the loss is NaN")

    with pytest.raises(SystemExit):
        run(rungs, train)
    assert rungs.first.trials()[0].state.name == "WAITING"


def test_a_database_that_is_away_does_not_hide_why_a_worker_ends(rungs, monkeypatch):
    def away(claim):
        raise UserError("the database does not answer")

    monkeypatch.setattr(rungs.first, "release", away)

    def train(task, on_value):
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        run(rungs, train)


def test_an_unexpected_error_of_the_heartbeat_ends_the_trial(rungs, monkeypatch):
    """Without it, nothing would renew the claim, and the trial would be trained twice."""

    def renew(claim):
        raise RuntimeError("a bug")

    monkeypatch.setattr(rungs.first, "renew", renew)
    beaten = threading.Event()

    def train(task, on_value):
        for epoch in range(200):
            on_value(epoch, 0.5)
            beaten.wait(0.05)
        return {"quality": 0.5}

    with pytest.raises(RuntimeError, match="a bug"):
        work(rungs, "w", ["quality"], train, every_s=0.1, most=1)
    assert rungs.first.trials()[0].user_attrs["failure"] == "RuntimeError: a bug"
