"""`fovea study stop`, and the limit of time: what a search does when it must end early."""

import threading
import time

import pytest

from components.errors import UserError
from components.search import coordinator as coordinator_module
from components.search.choice import choose_trial
from components.search.overview import note_outcome, read_overview, read_speed, request_stop
from components.search.rungs import Rungs
from components.search.trial import Trial
from tests.components.search.searches import WRITTEN, rate_of, run_search, search_of

REASON = "stopped by a test"


def train_at_once(task, on_value):
    on_value(1, rate_of(task))
    return {"val_macro_f1": rate_of(task)}


class StopAt:
    """Trains; in the middle of training number `number` of all, asks for a stop.

    This training, and those that begin after it, end when the coordinator has noticed the stop.
    """

    def __init__(self, folder, number):
        self.url, self.number = f"sqlite:///{folder}/study.db", number
        self.lock, self.begun, self.done = threading.Lock(), 0, 0
        self.noticed = threading.Event()

    def __call__(self, task, on_value):
        with self.lock:
            self.begun += 1
            mine = self.begun
        if mine == self.number:
            request_stop(self.url, "s", REASON)
            rungs = Rungs(self.url, "s")
            while not rungs.first.ended():
                time.sleep(0.05)
            rungs.close()
            self.noticed.set()
        if mine > self.number:
            assert self.noticed.wait(timeout=60)
        result = train_at_once(task, on_value)
        with self.lock:
            self.done += 1
        return result


def overview_of(folder, search):
    return read_overview(f"sqlite:///{folder}/study.db", "s", search, WRITTEN)


def test_without_a_stop_all_rungs_run(tmp_path):
    search = search_of()
    coordinator, trials = run_search(tmp_path, search, train_at_once)
    overview = overview_of(tmp_path, search)
    assert coordinator.early_end is None
    assert [rung.complete for rung in overview.rungs] == [6, 2, 1, 4]
    speed = read_speed(f"sqlite:///{tmp_path}/study.db", "s", search, WRITTEN)
    counts = {"first rung": (6, 2), "round 1": (2, 6), "round 2": (1, 7), "confirmation": (4, 15)}
    seconds = sum(rung.complete * rung.seconds for rung in overview.rungs)
    assert speed == pytest.approx(seconds / sum(count * n for count, n in counts.values()))
    assert (overview.ended, overview.stop) == ("it is finished", None)
    assert overview.trials == trials
    assert list(overview.ranked) == coordinator.best()
    best = max(trials, key=lambda trial: trial.values["val_macro_f1"])
    assert overview.ranked[0] == best.number
    assert len(best.confirmed) == 2
    assert best.epochs == 15


def test_a_stop_in_the_first_rung_ends_the_search_with_the_best_so_far(tmp_path):
    """All six trials wait in the database from the start, because they are random."""
    search, train = search_of(), StopAt(tmp_path, 3)
    coordinator, trials = run_search(tmp_path, search, train)
    assert train.done == train.begun == len(trials) < 6  # what ran was finished, nothing started
    assert {trial.state for trial in trials} == {"complete"}
    assert coordinator.early_end == (
        f"the search ended early ({REASON}): {len(trials)} of 6 trainings of the first rung; "
        "no round 1; no round 2; no confirmation"
    )
    overview = overview_of(tmp_path, search)
    assert len(overview.rungs) == 1
    assert (overview.ended, overview.stop) == (REASON, None)
    outcome = choose_trial(trials, coordinator.best(), search, 0.0, coordinator.early_end)
    best = max(trials, key=lambda trial: trial.values["val_macro_f1"])
    assert outcome.number == best.number
    assert outcome.sentences == [
        coordinator.early_end,
        f"training uses trial {best.number}, which no further trainings have confirmed",
    ]


def test_a_search_that_was_stopped_goes_on_when_it_is_run_again(tmp_path):
    search = search_of()
    _, before = run_search(tmp_path, search, StopAt(tmp_path, 3))
    coordinator, trials = run_search(tmp_path, search, train_at_once)
    assert coordinator.early_end is None
    assert len(before) < len(trials) == 6
    assert all(trials[trial.number].overrides == trial.overrides for trial in before)
    assert [rung.complete for rung in overview_of(tmp_path, search).rungs] == [6, 2, 1, 4]


def test_a_stop_while_no_process_runs_the_search_is_not_lost(tmp_path):
    search, dead = search_of(), threading.Event()

    class KilledError(Exception):
        pass

    def on_progress(progress):
        if progress.complete >= 2:
            dead.set()
            raise KilledError

    def train(task, on_value):
        result = train_slowly(task, on_value)
        if dead.is_set():
            raise SystemExit  # like a worker that gets SIGTERM, so it gives its trial back
        return result

    with pytest.raises(KilledError):
        run_search(tmp_path, search, train, on_progress)
    while overview_of(tmp_path, search).running:
        time.sleep(0.1)
    before = overview_of(tmp_path, search).trials
    request_stop(f"sqlite:///{tmp_path}/study.db", "s", REASON)
    coordinator, trials = run_search(tmp_path, search, train_at_once)
    assert trials == before
    assert coordinator.early_end.startswith(f"the search ended early ({REASON}): ")
    assert overview_of(tmp_path, search).stop is None


def train_slowly(task, on_value):
    time.sleep(0.5)
    return train_at_once(task, on_value)


def test_a_stop_in_a_round_keeps_what_the_round_has(tmp_path):
    search, train = search_of(finalists=4), StopAt(tmp_path, 7)  # the first training of round 1
    coordinator, trials = run_search(tmp_path, search, train)
    assert len(trials) == 6
    overview = overview_of(tmp_path, search)
    assert len(overview.rungs) == 2
    done = overview.rungs[1].complete
    assert done in (1, 2)  # of two workers
    assert f"{done} of 4 trainings of the round 1 of" in coordinator.early_end
    assert coordinator.early_end.endswith("; no round 2; no round 3; no confirmation")
    assert trials[coordinator.best()[0]].epochs > 2


def test_a_stop_in_the_confirmation_keeps_the_folds_that_all_trials_have(tmp_path):
    search = search_of(confirm={"trials": 2, "folds": 8})
    train = StopAt(tmp_path, 9 + 4)  # 6 + 2 + 1 trainings, then three for each fold
    coordinator, trials = run_search(tmp_path, search, train)
    confirmed = [len(trial.confirmed) for trial in trials if trial.confirmed]
    assert confirmed == [1, 1, 1]  # Two workers had only two trainings of the second fold.
    assert "of 24 trainings of the confirmation of 0 " in coordinator.early_end
    outcome = choose_trial(trials, coordinator.best(), search, 0.2, coordinator.early_end)
    assert outcome.sentences[0] == coordinator.early_end


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_after_its_minutes_a_search_starts_no_trial_that_waits(tmp_path):
    clock, noticed, late = Clock(), threading.Event(), []

    def train(task, on_value):
        clock.now = 61.0
        assert noticed.wait(timeout=60)
        return train_at_once(task, on_value)

    def on_progress(progress):
        late.extend([progress] if clock.now else [])
        if len(late) == 2:  # The coordinator looks at the clock between two of its calls.
            noticed.set()

    search = search_of(minutes=1.0)
    coordinator, trials = run_search(tmp_path, search, train, on_progress, clock)
    assert 1 <= len(trials) <= 2  # of two workers
    assert "search.minutes: 1 are over" in coordinator.early_end


def test_a_search_by_time_may_have_any_number_of_trials(tmp_path):
    """They are added as they are needed, so that a stop does not wait, and no table grows."""
    waiting = []

    def on_progress(progress):
        waiting.append(len(coordinator_rows(tmp_path)) - progress.complete)
        if progress.complete >= 3:
            request_stop(f"sqlite:///{tmp_path}/study.db", "s", REASON)

    search = search_of(trials=10**9, finalists=0, confirm={"trials": 0, "folds": 2})
    coordinator, trials = run_search(tmp_path, search, train_at_once, on_progress)
    assert 3 <= len(trials) < 100
    assert 2 < max(waiting) <= 50 + 2 * 2 + 2
    assert "of 1000000000 trainings" in coordinator.early_end


def coordinator_rows(folder):
    rungs = Rungs(f"sqlite:///{folder}/study.db", "s")
    rows = rungs.first.trials()
    rungs.close()
    return rows


def test_the_time_of_a_search_counts_over_all_its_processes(tmp_path):
    clock = Clock()

    def train(task, on_value):
        clock.now += 40.0
        return train_at_once(task, on_value)

    search = search_of(minutes=2.0, finalists=0, confirm={"trials": 0, "folds": 2}, trials=2)
    first, trials = run_search(tmp_path, search, train, clock=clock)
    assert (first.early_end, len(trials)) == (None, 2)
    rungs = Rungs(f"sqlite:///{tmp_path}/study.db", "s")
    assert rungs.first.noted(coordinator_module.SPENT) in (40.0, 80.0)
    rungs.first.note(coordinator_module.SPENT, 121.0)
    rungs.close()
    more = search.model_copy(update={"trials": 4})
    second, trials = run_search(tmp_path, more, train, clock=Clock())
    assert len(trials) == 2
    assert "search.minutes: 2 are over" in second.early_end


def test_a_search_without_a_complete_trial_says_how_to_go_on(tmp_path):
    rungs = Rungs.create(f"sqlite:///{tmp_path}/study.db", "s", ["maximize"])
    rungs.close()
    request_stop(f"sqlite:///{tmp_path}/study.db", "s", REASON)
    search = search_of()
    coordinator, trials = run_search(tmp_path, search, train_at_once)
    assert trials == []
    with pytest.raises(UserError, match=r"^no trial .* run the same command again, .* early \("):
        choose_trial(trials, [], search, 0.0, coordinator.early_end)


def test_a_search_that_is_over_cannot_be_stopped(tmp_path):
    search = search_of(finalists=0, confirm={"trials": 0, "folds": 2}, trials=1)
    run_search(tmp_path, search, train_at_once)
    with pytest.raises(UserError, match=r"^the search is over already; .* Received: it is fin"):
        request_stop(f"sqlite:///{tmp_path}/study.db", "s", REASON)


def test_the_outcome_is_remembered(tmp_path):
    search = search_of(finalists=0, confirm={"trials": 0, "folds": 2}, trials=1)
    run_search(tmp_path, search, train_at_once)
    rungs = Rungs(f"sqlite:///{tmp_path}/study.db", "s")
    note_outcome(rungs, 0, ["a sentence"])
    rungs.close()
    overview = overview_of(tmp_path, search)
    assert (overview.chosen, overview.sentences) == (0, ["a sentence"])


def test_params_as_written_that_are_the_best_trial_need_no_confirmation():
    trials = [Trial(n, "complete", {}, {"val_macro_f1": 0.9 - n / 10}) for n in range(2)]
    outcome = choose_trial(trials, [0, 1], search_of(), 0.0)
    assert outcome.number == 0
    assert outcome.sentences == [
        "training uses the params as written (trial 0), the best of all trials"
    ]
