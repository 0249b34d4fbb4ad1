"""The study: an objective that is a formula, so that only the search is tried."""

import math
import re
from pathlib import Path

import optuna
import pytest

from components.errors import UserError
from components.params.hyperparameters import Hyperparameters
from components.params.search import Choices, Range
from components.search.plots import draw_trials
from components.search.study import Trial, best_trial, run_study
from components.training.limits import TrainingFailedError

RATE = "train.finetune.learning_rate"


@pytest.fixture
def written(params):
    hyperparameters = Hyperparameters(model=params.model, train=params.train)
    return hyperparameters.with_overrides({"train.seed": 7})


@pytest.fixture
def search(params):
    space = {
        RATE: Range(low=0.0001, high=0.1, log=True),
        "model.dropout": Choices(choices=(0.0, 0.2)),
    }
    return params.search.model_copy(update={"trials": 8, "startup_trials": 3, "space": space})


def formula(number, overrides, on_value):
    """Best at a rate of 0.01 without dropout."""
    value = 1 - abs(math.log10(overrides[RATE]) + 2) / 3 - overrides["model.dropout"]
    for epoch in (1, 2, 3):
        on_value(epoch, value)
    return value


def test_trial_0_is_what_params_yaml_says(search, written, tmp_path):
    trials = run_study(search, written, formula, tmp_path / "s.db")
    assert trials[0].overrides == {
        RATE: written.train.finetune.learning_rate,
        "model.dropout": written.model.dropout,
    }


def test_a_study_continues_in_a_folder_of_any_name(search, written, tmp_path, monkeypatch):
    (tmp_path / "we?ird %41 #1 'quoted\"").mkdir()
    monkeypatch.chdir(tmp_path / "we?ird %41 #1 'quoted\"")
    search = search.model_copy(update={"trials": 2})
    first = run_study(search, written, formula, Path(".fovea/s.db"))
    assert run_study(search, written, None, Path(".fovea/s.db")) == first
    assert [path.name for path in tmp_path.rglob("*.db")] == ["s.db"]
    assert len(list(tmp_path.iterdir())) == 1


def test_the_budget_is_counted_exactly_and_the_best_is_the_highest(search, written, tmp_path):
    trials = run_study(search, written, formula, tmp_path / "s.db")
    complete = [trial.value for trial in trials if trial.state == "complete"]
    assert [trial.number for trial in trials] == list(range(8))
    assert best_trial(trials).value == max(complete)


def test_an_interrupted_search_ends_as_an_undisturbed_one(search, written, tmp_path):
    def interrupted(number, overrides, on_value):
        if number == 4:
            raise KeyboardInterrupt
        return formula(number, overrides, on_value)

    with pytest.raises(KeyboardInterrupt):
        run_study(search, written, interrupted, tmp_path / "one.db")
    resumed = run_study(search, written, formula, tmp_path / "one.db")
    assert resumed == run_study(search, written, formula, tmp_path / "two.db")


def test_a_finished_search_is_not_run_again(search, written, tmp_path):
    first = run_study(search, written, formula, tmp_path / "s.db")

    def never(number, overrides, on_value):
        raise AssertionError("ran again")

    assert run_study(search, written, never, tmp_path / "s.db") == first


def test_more_trials_build_on_those_already_run(search, written, tmp_path):
    first = run_study(search, written, formula, tmp_path / "s.db")
    more = search.model_copy(update={"trials": 10})
    assert run_study(more, written, formula, tmp_path / "s.db")[:8] == first


def test_a_failing_trial_does_not_end_the_study(search, written, tmp_path):
    def sometimes(number, overrides, on_value):
        if number % 2:
            raise TrainingFailedError("the loss is no longer a number")
        return formula(number, overrides, on_value)

    trials = run_study(search, written, sometimes, tmp_path / "s.db")
    assert [trial.state for trial in trials].count("failed") == 4
    assert best_trial(trials).state == "complete"


def test_a_lost_tracking_server_ends_the_study_and_costs_no_trial(search, written, tmp_path):
    def lost(number, overrides, on_value):
        if number == 2:
            raise UserError("MLflow cannot be reached")
        return formula(number, overrides, on_value)

    with pytest.raises(UserError, match="MLflow"):
        run_study(search, written, lost, tmp_path / "one.db")
    resumed = run_study(search, written, formula, tmp_path / "one.db")
    assert resumed == run_study(search, written, formula, tmp_path / "two.db")


def test_a_mistake_of_ours_is_not_hidden_as_a_failed_trial(search, written, tmp_path):
    def broken(number, overrides, on_value):
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        run_study(search, written, broken, tmp_path / "s.db")


def test_a_search_in_which_every_trial_fails_says_so(search, written, tmp_path):
    def failing(number, overrides, on_value):
        raise TrainingFailedError("the loss is no longer a number")

    trials = run_study(search, written, failing, tmp_path / "s.db")
    with pytest.raises(UserError, match=r"no trial .* is complete.*Received: 8"):
        best_trial(trials)


def test_poor_trials_are_cut_short(search, written, tmp_path):
    epochs = []

    def falling(number, overrides, on_value):
        for epoch in range(1, 6):
            epochs.append(number)
            on_value(epoch, -float(number))
        return -float(number)

    trials = run_study(search, written, falling, tmp_path / "s.db")
    assert {trial.state for trial in trials[:3]} == {"complete"}
    assert {trial.state for trial in trials[4:]} == {"pruned"}
    assert epochs.count(7) < 5


def test_a_trial_below_the_median_ends_after_its_first_epoch_and_a_good_start_saves_it(
    search, written, tmp_path
):
    epochs = []

    def objective(number, overrides, on_value):
        values = {3: [-1.0, -1.0, -1.0], 4: [9.0, -1.0, -1.0]}.get(number, [1.0, 2.0, 3.0])
        for epoch, value in enumerate(values, start=1):
            epochs.append(number)
            on_value(epoch, value)
        return values[-1]

    five = search.model_copy(update={"trials": 5})
    trials = run_study(five, written, objective, tmp_path / "s.db")
    assert [trial.state for trial in trials] == ["complete"] * 3 + ["pruned", "complete"]
    assert [epochs.count(number) for number in range(5)] == [3, 3, 3, 1, 3]


def test_of_equal_trials_the_earlier_one_is_the_best():
    trials = [Trial(0, "complete", 0.8, {}), *(Trial(n, "complete", 0.9, {}) for n in (1, 2, 3))]
    assert best_trial(trials).number == 1
    assert best_trial(trials[::-1]).number == 1


def test_a_range_of_whole_numbers_on_a_float_is_one_of_floats(search, written, tmp_path):
    space = {"model.dropout": Range(low=0, high=0.9, log=False), RATE: search.space[RATE]}
    wide = search.model_copy(update={"space": space})
    trials = run_study(wide, written, formula, tmp_path / "s.db")
    assert len({trial.overrides["model.dropout"] for trial in trials}) == 8


def test_equal_trials_draw_equal_pictures(search, written, tmp_path):
    trials = run_study(search, written, formula, tmp_path / "s.db")
    first, second = (draw_trials(trials, "val_accuracy", search.space) for _ in range(2))
    assert first == second
    assert first.startswith("<?xml")


def test_no_trials_draw_a_picture_that_says_so():
    assert "search.trials: 0" in draw_trials([], "val_accuracy", {})


CONDITIONAL = {
    RATE: Range(low=0.0001, high=0.1, log=True, when={"train.optimizer": ("adamw", "lion")}),
    "train.momentum": Range(
        low=0.1, high=0.9, log=False, step=0.1, when={"train.optimizer": ("sgd",)}
    ),
    "train.optimizer": Choices(choices=("adamw", "sgd", "lion")),
    "train.accumulate": Range(
        low=1, high=9, log=False, step=4, when={"train.momentum": (0.3, 0.7)}
    ),
}
GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@pytest.fixture
def conditional(search):
    return search.model_copy(update={"trials": 30, "space": CONDITIONAL})


def momentum(number, overrides, on_value):
    """Best for `sgd` with a momentum of 0.7."""
    return -abs(overrides.get("train.momentum", -5) - 0.7)


def test_a_trial_chooses_only_what_the_conditions_allow(conditional, written, tmp_path):
    trials = run_study(conditional, written, momentum, tmp_path / "s.db")
    sets = {tuple(trial.overrides) for trial in trials}
    assert sets == {
        ("train.optimizer", RATE),
        ("train.optimizer", "train.momentum"),
        ("train.optimizer", "train.momentum", "train.accumulate"),
    }
    for trial in trials:
        chosen = trial.overrides
        assert (RATE in chosen) == (chosen["train.optimizer"] != "sgd")
        assert ("train.accumulate" in chosen) == (chosen.get("train.momentum") in (0.3, 0.7))
    assert {trial.overrides.get("train.accumulate") for trial in trials} <= {None, 1, 5, 9}
    # Exact numbers, not 0.30000000000000004: otherwise no condition would hold with them.
    assert {trial.overrides.get("train.momentum") for trial in trials} <= {None, *GRID}
    assert best_trial(trials).overrides["train.momentum"] == 0.7
    # Optuna knows of the steps, so the lowest and the highest value are as likely as the others.
    stored = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 's.db'}")
    [distribution] = {
        trial.distributions["train.momentum"]
        for trial in stored.trials
        if "train.momentum" in trial.distributions
    }
    assert distribution == optuna.distributions.FloatDistribution(0.1, 0.9, step=0.1)


def test_the_lines_of_the_space_may_change_places(conditional, written, tmp_path):
    trials = run_study(conditional, written, momentum, tmp_path / "one.db")
    turned = conditional.model_copy(update={"space": dict(reversed(CONDITIONAL.items()))})
    assert run_study(turned, written, momentum, tmp_path / "two.db") == trials


def test_an_interrupted_search_with_conditions_ends_as_an_undisturbed_one(
    conditional, written, tmp_path
):
    def interrupted(number, overrides, on_value):
        if number in (1, 12):
            raise KeyboardInterrupt
        return momentum(number, overrides, on_value)

    points = ({"train.optimizer": "sgd", "train.momentum": 0.2},)
    search = conditional.model_copy(update={"trials": 15, "start": points})
    with pytest.raises(KeyboardInterrupt):
        run_study(search, written, interrupted, tmp_path / "one.db")
    resumed = run_study(search, written, momentum, tmp_path / "one.db")
    assert resumed == run_study(search, written, momentum, tmp_path / "two.db")
    assert resumed[1].overrides == points[0]


def test_the_first_trials_try_params_yaml_and_then_the_points_of_start(
    conditional, written, tmp_path
):
    points = (
        {"train.optimizer": "sgd", "train.momentum": 0.3, "train.accumulate": 9},
        {"train.optimizer": "adamw", RATE: written.train.finetune.learning_rate},
        {"train.optimizer": "lion", RATE: 0.002},
    )
    search = conditional.model_copy(update={"trials": 4, "start": points})
    first, *others = run_study(search, written, momentum, tmp_path / "s.db")
    assert first.overrides == points[1]  # as in params.yaml, so it is not tried once more
    assert [trial.overrides for trial in others[:2]] == [points[0], points[2]]
    assert others[2].overrides not in points

    outside = written.with_overrides({"train.optimizer": "rmsprop"})
    trials = run_study(search, outside, momentum, tmp_path / "outside.db")
    assert [trial.overrides for trial in trials[:3]] == list(points)


def test_a_panel_shows_the_trials_that_chose_its_hyperparameter(conditional, written):
    values = [({RATE: 0.01}, 0.4), ({"train.momentum": 0.5}, 0.6), ({RATE: 0.02}, 0.5)]
    trials = [Trial(n, "complete", value, chosen) for n, (chosen, value) in enumerate(values)]
    space = {name: CONDITIONAL[name] for name in (RATE, "train.momentum")}
    both = draw_trials(trials, "val_accuracy", space)
    none = draw_trials(trials, "val_accuracy", {})
    # Each trial has a point in the panel of its hyperparameter, and the best has a ring.
    for mark, more in ((r"<use [^>]*fill: #2563eb", 3), (r"<path [^>]*stroke: #111827", 1)):
        assert len(re.findall(mark, both)) - len(re.findall(mark, none)) == more
    unused = {"train.accumulate": CONDITIONAL["train.accumulate"]}
    assert "train.accumulate" in draw_trials(trials, "val_accuracy", unused)
