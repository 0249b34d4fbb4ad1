"""A coordinator and real workers, threads that run the real loop on a formula instead of Keras."""

import threading
import time
from collections import Counter
from statistics import median

import pytest

from components.errors import HyperparameterError, UserError
from components.params.hyperparameters import Hyperparameters
from components.params.reader import read_params
from components.params.search import Choices, Confirm, Range
from components.search.coordinator import Coordinator
from components.search.pruning import MedianRule
from components.search.rungs import Rungs
from components.search.workers import MOST_FAILURES
from components.training.limits import TrainingFailedError
from tests.cards import DIGITS, PHOTOS
from tests.components.search.searches import ThreadWorkers

DROPOUT, RATE, SMOOTHING = "model.dropout", "train.finetune.learning_rate", "train.label_smoothing"
SPACE = {
    DROPOUT: Range(low=0.0, high=0.8, log=False),
    RATE: Range(low=0.0001, high=0.01, log=True),
    SMOOTHING: Choices(choices=(0.0, 0.1, 0.2)),
}


def written(card):
    params = read_params(card)
    return Hyperparameters(model=params.model, train=params.train), params.search


def quality(task):
    """Best at dropout 0.3; longer trainings are better; another fold has another luck."""
    dropout = task.overrides.get(DROPOUT, 0.2)
    epochs = 32 if task.epochs is None else task.epochs
    luck = 0.0 if task.fold is None else 0.001 * task.fold
    return 0.5 - (dropout - 0.3) ** 2 + epochs / 1000 + luck


@pytest.fixture
def search(tmp_path):
    """A function that runs a search and returns the trials, the tasks and the reports."""

    def run(search, hyperparameters, train=None, workers=1, name="s", rule=None):
        url = f"sqlite:///{tmp_path}/study.db"

        def by_formula(task, on_value):
            value = quality(task)
            on_value(1, value)
            return dict.fromkeys(search.objectives, value)

        def recorded(task, on_value):
            seen.append(task)
            return (train or by_formula)(task, on_value)

        directions = [search.directions[objective] for objective in search.objectives]
        rungs = Rungs.create(url, name, directions)
        threads = ThreadWorkers(url, name, recorded, workers, search.objectives, rule)
        reported, seen = [], []
        coordinator = Coordinator(
            rungs, search, hyperparameters, threads, lambda *given: reported.append(given)
        )
        try:
            coordinator.find()
            trials = coordinator.confirm(search.confirm.folds)
            coordinator.settle()
        finally:
            coordinator.end("the test is over")
            threads.wait()
            rungs.close()
        return trials, seen, reported, coordinator

    return run


@pytest.fixture
def photos():
    """Head trials, of which four go on."""
    hyperparameters, search = written(PHOTOS)
    update = {
        "trials": 14,
        "space": SPACE,
        "startup_trials": 3,
        "finalists": 4,
        "confirm": Confirm(trials=2, folds=3),
    }
    return search.model_copy(update=update), hyperparameters


def test_a_search_goes_from_heads_to_rounds_to_confirmations(search, photos):
    trials, tasks, reported, coordinator = search(*photos)
    assert [trial.number for trial in trials] == list(range(14))
    first = [task for task in tasks if task.epochs == 0]
    assert [task.trial for task in first] == list(range(14))
    rounds = [(task.trial, task.epochs) for task in tasks if task.epochs != 0 and task.fold is None]
    assert Counter(epochs for _, epochs in rounds) == {8: 4, 16: 2, None: 1}
    ranked = sorted(first, key=quality, reverse=True)
    assert {n for n, epochs in rounds if epochs == 8} == {task.trial for task in ranked[:4]}
    assert rounds[-1][0] == ranked[0].trial
    confirmed = [task for task in tasks if task.fold is not None]
    assert all(task.epochs is None for task in confirmed)
    numbers = {task.trial for task in confirmed}
    assert numbers == {0, *coordinator.best()[:2]}
    assert Counter((t.trial, t.fold) for t in confirmed) == {
        (n, fold): 1 for n in numbers for fold in range(3)
    }
    assert [len(trial.confirmed) for trial in trials if trial.number in numbers] == [3] * len(
        numbers
    )
    assert sorted(trial.number for trial, _ in reported) == list(range(14))


def test_one_worker_and_four_workers_find_the_same(search, photos, tmp_path):
    one = search(*photos, name="one")
    four = search(*photos, name="four", workers=4)
    assert one[0] == four[0]
    assert {repr(task) for task in one[1]} == {repr(task) for task in four[1]}


def test_trial_0_has_the_params_as_written_also_outside_of_the_space(search, photos):
    section, hyperparameters = photos
    space = {**SPACE, DROPOUT: Range(low=0.5, high=0.8, log=False)}
    trials, *_ = search(section.model_copy(update={"space": space}), hyperparameters)
    assert trials[0].overrides == {}
    assert all(trial.overrides[DROPOUT] >= 0.5 for trial in trials[1:])


def test_what_a_head_does_not_reach_is_not_learned_from_heads(search, photos):
    """The sampler gets no distribution of it; every trial has its own value all the same."""
    section, hyperparameters = photos
    trials, _, _, coordinator = search(section, hyperparameters)
    rows = coordinator._rungs.first.trials()
    assert all(RATE not in row.params for row in rows)
    assert all(DROPOUT in row.params for row in rows)
    assert len({trial.overrides[RATE] for trial in trials}) == len(trials)
    assert all(0.0001 <= trial.overrides[RATE] <= 0.01 for trial in trials)


def test_a_trial_that_fails_fails_alone(search, photos):
    def train(task, on_value):
        if task.trial in (3, 5) and task.epochs == 0:
            raise TrainingFailedError("the loss is no number")
        if task.trial == 7:
            raise MemoryError
        return {"val_macro_f1": quality(task)}

    trials, tasks, reported, _ = search(*photos, train=train)
    assert [trial.number for trial in trials if trial.state == "failed"] == [3, 5, 7]
    assert trials[3].note == "the loss is no number"
    assert trials[7].note == "MemoryError"
    assert trials[3].values == {}
    assert len(reported) == len(trials) == 14
    assert max(Counter(t.trial for t in tasks if t.epochs == 0).values()) == 1


def test_an_error_of_every_trial_ends_the_search_at_once_and_the_next_one_goes_on(search, photos):
    tasks = []

    def train(task, on_value):
        tasks.append(task)
        raise HyperparameterError("train.batch_size: no such batch", "train.batch_size")

    with pytest.raises(UserError, match=r"^train\.batch_size: no such batch$"):
        search(*photos, train=train)
    assert len(tasks) == 1
    trials, *_ = search(*photos)
    assert {trial.state for trial in trials} == {"complete"}


def test_an_error_of_one_machine_ends_its_workers_and_the_others_take_its_trials(
    search, photos, caplog
):
    """Only the second worker is on a machine that works; all that replace the first one fail."""

    def train(task, on_value):
        if threading.current_thread().name != "worker-1":
            raise UserError("the disk is full")
        time.sleep(0.2)
        return {"val_macro_f1": quality(task)}

    trials, *_ = search(*photos, train=train, workers=2)
    assert trials == search(*photos, name="undisturbed")[0]
    assert {trial.note for trial in trials} == {""}
    said = [record.message for record in caplog.records if "full" in record.message]
    assert said[0] == "a worker ended: on worker-0: the disk is full"
    assert len(said) == len(set(said)) > MOST_FAILURES + 1


def test_an_error_of_every_machine_ends_the_search_with_its_sentence(search, photos):
    tasks = []

    def train(task, on_value):
        tasks.append(task)
        raise UserError("the disk is full")

    with pytest.raises(UserError, match=r"end again and again; .*on worker-\d+: the disk is full$"):
        search(*photos, train=train, workers=2)
    assert MOST_FAILURES < len(tasks) <= MOST_FAILURES + 2
    trials, *_ = search(*photos)
    assert {trial.state for trial in trials} == {"complete"}
    assert {trial.note for trial in trials} == {""}


@pytest.mark.parametrize("workers", [1, 4])
def test_a_trial_below_the_median_stops_and_has_the_value_of_its_last_epoch(search, workers):
    """Trial n is compared with the trials up to n - 8, so the number of workers changes nothing."""
    hyperparameters, section = written(DIGITS)
    update = {
        "trials": 20,
        "space": SPACE,
        "first_rung": "all",
        "finalists": 0,
        "pruner": "median",
        "confirm": Confirm(trials=0, folds=2),
    }

    def train(task, on_value):
        for epoch in range(-4, 1):  # of the head, which is best where fine-tuning is worst
            on_value(epoch, 1 - quality(task))
        for epoch in range(1, 4):
            on_value(epoch, quality(task) - 1 / epoch)
        return {"val_macro_f1": quality(task)}

    rule = MedianRule(3, "maximize")
    section = section.model_copy(update=update)
    trials, tasks, *_ = search(section, hyperparameters, train, workers, rule=rule)
    qualities = {task.trial: quality(task) for task in tasks}
    for trial in trials:
        seen = [t for t in trials[: max(0, trial.number - 7)] if t.state == "complete"]
        stops = len(seen) >= 3 and qualities[trial.number] < median(
            qualities[other.number] for other in seen
        )
        assert trial.state == ("pruned" if stops else "complete")
        assert trial.values["val_macro_f1"] == qualities[trial.number] - (1 if stops else 0)
    assert 2 <= [trial.state for trial in trials].count("pruned") <= 10


def test_a_search_that_was_cut_off_goes_on_where_it_was(search, photos):
    whole = search(*photos, name="whole")
    tasks = []

    def train(task, on_value):
        tasks.append(task)
        return {"val_macro_f1": quality(task)}

    few, hyperparameters = photos
    search(
        few.model_copy(update={"trials": 9, "finalists": 0, "confirm": Confirm(trials=0, folds=2)}),
        hyperparameters,
        train=train,
    )
    assert len(tasks) == 9
    trials, seen, reported, _ = search(*photos)
    assert [task.trial for task in seen if task.epochs == 0] == [9, 10, 11, 12, 13]
    assert trials == whole[0]
    assert sorted(trial.number for trial, _ in reported) == list(range(14))


def test_a_grid_that_is_used_up_ends_the_rung(search, photos):
    section, hyperparameters = photos
    update = {"sampler": "grid", "space": {SMOOTHING: SPACE[SMOOTHING]}, "finalists": 0}
    trials, *_ = search(section.model_copy(update=update), hyperparameters)
    assert [trial.overrides[SMOOTHING] for trial in trials[:1]] == [0.1]
    assert sorted(trial.overrides[SMOOTHING] for trial in trials[1:]) == [0.0, 0.1, 0.2]


def test_the_best_trial_within_a_cost_is_the_best(search, photos):
    section, hyperparameters = photos
    update = {"objectives": ("val_macro_f1", "bytes"), "within": {"bytes": 5.0}, "finalists": 0}

    def train(task, on_value):
        cost = 9.0 if quality(task) > 0.49 else 4.0
        return {"val_macro_f1": quality(task), "bytes": cost}

    trials, *_, coordinator = search(
        section.model_copy(update=update), hyperparameters, train=train
    )
    best = coordinator.best()
    assert all(trials[number].values["bytes"] == 4.0 for number in best)
    assert any(trial.values["bytes"] == 9.0 for trial in trials)
    values = [trials[number].values["val_macro_f1"] for number in best]
    assert values == sorted(values, reverse=True)


def test_a_loss_is_better_if_it_is_lower(search, photos):
    section, hyperparameters = photos
    update = {"objectives": ("val_loss",), "finalists": 2}

    def train(task, on_value):
        return {"val_loss": 1 - quality(task)}

    trials, *_, coordinator = search(
        section.model_copy(update=update), hyperparameters, train=train
    )
    best = coordinator.best()[0]
    assert trials[best].values["val_loss"] == min(
        trial.values["val_loss"] for trial in trials if trial.epochs == trials[best].epochs
    )
