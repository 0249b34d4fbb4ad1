"""A search that goes on with other params than before, and what an early end must not need."""

import threading
import time
from collections import Counter

import pytest

from components.errors import UserError
from components.search.choice import choose_trial
from components.search.overview import note_outcome, read_overview, request_stop
from components.search.rungs import Rungs
from components.search.tasks import Task
from tests.components.search.searches import WRITTEN, rate_of, run_search, search_of

NO_CONFIRMATION = {"trials": 0, "folds": 2}


class KilledError(Exception):
    """The process of the search is killed."""


@pytest.fixture
def trained():
    """The tasks that were trained."""
    return []


@pytest.fixture
def train(trained):
    def train(task, on_value):
        trained.append(task)
        return {"val_macro_f1": rate_of(task) + (0.01 * task.fold if task.fold else 0.0)}

    return train


def url(folder):
    return f"sqlite:///{folder}/study.db"


def overview_of(folder, search):
    return read_overview(url(folder), "s", search, WRITTEN)


def killed_when(holds):
    """Return an `on_progress` that ends the coordinator, and an event: the workers end with it."""
    dead = threading.Event()

    def on_progress(progress):
        if holds(progress):
            dead.set()
            raise KilledError

    return on_progress, dead


def until_dead(train, dead):
    """Return a training that ends its worker if the coordinator is dead."""

    def guarded(task, on_value):
        time.sleep(0.05)
        if dead.is_set():
            raise SystemExit
        return train(task, on_value)

    return guarded


def kill_search(folder, search, train, holds):
    """Run a search until something holds, and leave the database as a killed process does."""
    on_progress, dead = killed_when(holds)
    with pytest.raises(KilledError):
        run_search(folder, search, until_dead(train, dead), on_progress)
    rungs = Rungs(url(folder), "s")
    while any(store.running() for store in rungs.stores()):
        time.sleep(0.05)
    rungs.first.end("the threads of the test must end")  # Processes end with their search.
    time.sleep(0.5)
    rungs.close()


def test_fewer_trials_than_before_are_exactly_these(tmp_path, train, trained):
    """All trials of the first search wait already, because they are random."""
    many = search_of(trials=40, finalists=0, confirm=NO_CONFIRMATION)
    kill_search(tmp_path, many, train, lambda progress: progress.complete >= 2)
    few = many.model_copy(update={"trials": 7})
    _, trials = run_search(tmp_path, few, train)
    assert [trial.number for trial in trials] == list(range(7))
    assert sorted(task.trial for task in trained) == list(range(7))
    overview = overview_of(tmp_path, few)
    assert (overview.rungs[0].complete, overview.rungs[0].waiting) == (7, 0)

    _, again = run_search(tmp_path, many, train)
    assert again[:7] == trials
    assert sorted(task.trial for task in trained) == list(range(40))
    _, fewer = run_search(tmp_path, few, train)  # What is finished beyond is not looked at.
    assert fewer == trials
    assert len(trained) == 40


def test_fewer_folds_than_before_are_exactly_these(tmp_path, train, trained):
    four = search_of(confirm={"trials": 1, "folds": 4})
    _, before = run_search(tmp_path, four, train)
    count = len(trained)
    two = search_of(confirm={"trials": 1, "folds": 2})
    _, trials = run_search(tmp_path, two, train)
    assert len(trained) == count
    assert [trial.confirmed for trial in trials] == [trial.confirmed[:2] for trial in before]


def test_rounds_with_another_share_are_trained_as_far_as_they_should(tmp_path, train, trained):
    """With `keep: 0.5`, two finalists train for half of their epochs first, and one goes on."""
    half = search_of(trials=4, finalists=2, confirm=NO_CONFIRMATION)
    _, trials = run_search(tmp_path, half, train)
    assert sorted(trial.epochs for trial in trials) == [2, 2, 8, 15]
    third = half.model_copy(update={"keep": 0.33})
    _, trials = run_search(tmp_path, third, train)
    assert sorted(trial.epochs for trial in trials) == [2, 2, 15, 15]


def test_rungs_of_an_earlier_search_are_neither_trained_nor_shown(tmp_path, train, trained):
    """The first search is killed in its first round, of whose trials most wait."""
    five = search_of(trials=8, finalists=5, confirm=NO_CONFIRMATION)
    in_round = lambda progress: progress.rung.startswith("round 1") and progress.complete  # noqa: E731
    kill_search(tmp_path, five, train, in_round)
    trained.clear()
    three = five.model_copy(update={"finalists": 3})
    coordinator, trials = run_search(tmp_path, three, train)
    assert Counter(task.epochs for task in trained) == {8: 3, None: 1}  # of 15: 3 and then 1
    overview = overview_of(tmp_path, three)
    assert [rung.name.partition(" of ")[0] for rung in overview.rungs] == [
        "first rung",
        "round 1",
        "round 2",
    ]
    assert overview.trials == trials
    assert list(overview.ranked) == coordinator.best()
    _, whole = run_search(tmp_path, five, train)  # It goes on with what its rounds have.
    assert {trial.epochs for trial in whole} == {2, 4, 8, 15}


def test_an_early_end_without_trial_0_has_no_confirmation_and_no_error(tmp_path, train):
    """The worker of trial 0 has died, and then the search was stopped."""
    search = search_of()
    on_progress, dead = killed_when(lambda progress: progress.complete == 5)

    def all_but_0(task, on_value):
        if task.trial == 0:
            assert dead.wait(60)
            raise SystemExit
        return train(task, on_value)

    with pytest.raises(KilledError):
        run_search(tmp_path, search, all_but_0, on_progress)
    request_stop(url(tmp_path), "s", "a test")
    rungs = Rungs(url(tmp_path), "s")
    while rungs.first.running():
        time.sleep(0.05)
    rungs.close()
    coordinator, trials = run_search(tmp_path, search, train)
    assert [trial.number for trial in trials] == [1, 2, 3, 4, 5]
    assert coordinator.early_end.endswith(
        "5 of 6 trainings of the first rung; no round 1; no round 2; no confirmation"
    )
    outcome = choose_trial(trials, coordinator.best(), search, 0.0, coordinator.early_end)
    assert outcome.number == coordinator.best()[0] != 0
    strict = search.model_copy(
        update={"objectives": ("val_macro_f1", "bytes"), "within": {"bytes": 1.0}}
    )
    outcome = choose_trial(trials, [], strict, 0.0, coordinator.early_end)
    assert (outcome.number, outcome.overrides) == (0, {})


def test_what_training_uses_is_not_known_while_a_search_goes_on(tmp_path, train):
    search = search_of(trials=2, finalists=0, confirm=NO_CONFIRMATION)
    run_search(tmp_path, search, train)
    rungs = Rungs(url(tmp_path), "s")
    note_outcome(rungs, 1, ["training uses trial 1"])
    rungs.close()
    seen = []

    def on_progress(progress):
        seen.append(overview_of(tmp_path, search))

    more = search.model_copy(update={"trials": 3})
    run_search(tmp_path, more, train, on_progress)
    assert {(overview.chosen, *overview.sentences) for overview in seen} == {(None,)}


def test_a_study_that_was_deleted_ends_the_search_with_a_sentence(tmp_path, train):
    """Optuna Dashboard can delete it."""
    import optuna

    search = search_of(trials=9)
    deleted = threading.Event()

    def on_progress(progress):
        if progress.complete and not deleted.is_set():
            optuna.delete_study(study_name="s", storage=url(tmp_path))
            deleted.set()

    def wait_and_train(task, on_value):
        if task.trial:  # The search does not end before its study is deleted.
            assert deleted.wait(60)
        return train(task, on_value)

    with pytest.raises(
        UserError, match=r"^the study of this search was deleted.*Received: study s"
    ):
        run_search(tmp_path, search, wait_and_train, on_progress)
    _, trials = run_search(tmp_path, search, train)
    assert len(trials) == 9


def test_a_trial_above_the_budget_is_given_to_no_worker_and_stays(tmp_path):
    rungs = Rungs.create(url(tmp_path), "s", ["maximize"])
    store = rungs.first
    from tests.components.search.conftest import add

    for number in range(3):
        add(store, number, {"x": number})
    store.set_budget(1)
    assert store.waits()
    assert store.claim("w").task == Task(0, {"x": 0}, 0)
    assert not store.waits()
    assert store.claim("v") is None
    assert len(store.trials()) == 1
    add(store, 1, {"x": 9})
    store.set_budget(3)
    assert [row.user_attrs["task"]["trial"] for row in store.trials()] == [0, 1, 2]
    assert store.claim("v").task == Task(1, {"x": 1}, 0)
    rungs.close()
