"""Sampling: the same trials for any number of workers, by real Optuna samplers."""

import heapq
import os
import random
import subprocess
import sys
from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from components.params.hyperparameters import Hyperparameters
from components.params.search import Choices, Range
from components.search import sampling as module
from components.search.database import create_study
from components.search.points import Point, fixed_point
from components.search.sampling import DELAY, Sampling, needed_trials, sample
from components.search.space import suggest
from components.search.tasks import Task
from components.search.trials import TrialStore

PLANS = [
    ("tpe", 1),
    ("tpe", 2),
    ("random", 1),
    ("nsga2", 2),
    ("grid", 1),
]


WRITTEN = {"optimizer": "sgd", "layers": 2, "rate": 0.01, "dropout": 0.1}


def conditional(trial):
    """Two branches: only adam has a beta."""
    optimizer = trial.suggest_categorical("optimizer", ["adam", "sgd"])
    values = {"optimizer": optimizer, "layers": trial.suggest_int("layers", 1, 4)}
    if optimizer == "adam":
        values["beta"] = trial.suggest_float("beta", 0.5, 0.9, step=0.1)
    return values


def smooth(trial):
    rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    return {"rate": rate, "dropout": trial.suggest_float("dropout", 0.0, 0.8)}


def values_of(overrides):
    """Two objectives, a formula; some trials fail, some are pruned."""
    layers = overrides.get("layers", 100 * overrides.get("rate", 0.0))
    rest = overrides.get("beta", overrides.get("dropout", 0.0))
    return [layers - rest, layers * 2 + rest]


START = {"optimizer": "adam", "layers": 3, "beta": 0.7, "rate": 0.02, "dropout": 0.0}


def plan(sampler, define=conditional, objectives=1, fixed=(WRITTEN, START)):
    directions = ("maximize", "minimize")[:objectives]
    return Sampling(define, fixed, sampler, seed=5, startup_trials=4, directions=directions)


def finish(number, point, sampling):
    """Return the finished trial of a point: most are complete, some pruned, some failed."""
    values = values_of(point.overrides)[: len(sampling.directions)]
    state = {3: TrialState.PRUNED, 5: TrialState.FAIL}.get(number % 7, TrialState.COMPLETE)
    trial = optuna.trial.create_trial(
        state=state,
        values=values if state == TrialState.COMPLETE else None,
        params={name: point.overrides[name] for name in point.distributions},
        distributions=dict(point.distributions),
        intermediate_values={1: values[0]},
    )
    trial.number = number
    return trial


def search(sampling, trials, workers, seed=0):
    """Run a search of `workers` workers whose trials take random times. Returns the overrides."""
    durations = random.Random(seed)
    points, finished, running = [], [], []
    clock = 0.0
    while len(points) < trials or running:
        done = {trial.number for trial in finished}
        ready = done.issuperset(needed_trials(sampling, len(points)))
        if len(points) < trials and len(running) < workers and ready:
            point = sample(sampling, len(points), finished)
            if point is None:
                trials = len(points)
                continue
            heapq.heappush(running, (clock + durations.expovariate(1.0), len(points)))
            points.append(point)
        else:
            clock, number = heapq.heappop(running)
            finished.append(finish(number, points[number], sampling))
    return [point.overrides for point in points]


def serial(sampling, trials):
    """Return the finished trials of a search with one worker."""
    finished = []
    for number in range(trials):
        finished.append(finish(number, sample(sampling, number, finished), sampling))
    return finished


@pytest.mark.parametrize(
    ("sampler", "objectives", "define"),
    [
        *[(*names, conditional) for names in PLANS],
        *[(*names, smooth) for names in PLANS if names[0] != "grid"],  # It has no steps.
    ],
)
def test_one_and_eight_workers_run_the_same_trials(sampler, objectives, define):
    sampling = plan(sampler, define, objectives)
    expected = search(sampling, 40, workers=1)
    for seed, workers in enumerate((2, 4, 8, 8)):
        assert search(sampling, 40, workers, seed) == expected


@pytest.mark.parametrize(("sampler", "objectives"), PLANS[:-1])
def test_the_finishing_order_changes_nothing(sampler, objectives):
    sampling = plan(sampler, objectives=objectives)
    finished = serial(sampling, 30)
    expected = sample(sampling, 30, finished)
    for seed in range(5):
        random.Random(seed).shuffle(finished)
        assert sample(sampling, 30, finished) == expected


@pytest.mark.parametrize(("sampler", "objectives"), [("tpe", 1), ("tpe", 2), ("nsga2", 2)])
def test_results_that_were_stored_in_a_table_give_the_same_trials(tmp_path, sampler, objectives):
    sampling = plan(sampler, objectives=objectives)
    url = f"sqlite:///{tmp_path}/study.db"
    create_study(url, "s", sampling.directions)
    store = TrialStore(url, "s")
    for number in range(25):
        point = sample(sampling, number, store.trials())
        store.add(number, point, Task(number, point.overrides, 0))
        claim = store.claim("w")
        trial = finish(number, point, sampling)
        for step, value in trial.intermediate_values.items():
            store.report(claim, {step: value})
        if trial.state == TrialState.COMPLETE:
            store.complete(claim, trial.values)
        elif trial.state == TrialState.PRUNED:
            store.prune(claim)
        else:
            store.fail(claim, "no memory")
    stored = [trial.user_attrs["task"]["overrides"] for trial in store.trials()]
    assert stored == search(sampling, 25, workers=1)
    store.close()


@pytest.mark.parametrize(("sampler", "objectives"), [("tpe", 1), ("tpe", 2), ("nsga2", 2)])
def test_a_trial_depends_on_the_results_up_to_n_minus_delay_and_on_no_later_one(
    sampler, objectives
):
    sampling = plan(sampler, smooth, objectives)
    finished = serial(sampling, 30)
    expected = sample(sampling, 30, finished)
    assert sample(sampling, 30, finished[: 30 - DELAY + 1]) == expected

    def changed(numbers):
        inverted = list(finished)
        for number in numbers:
            trial = finish(number, fixed_point(sampling.define, finished[number].params), sampling)
            if trial.state == TrialState.COMPLETE:
                trial.values = [-9.0 * value for value in trial.values]
            inverted[number] = trial
        return inverted

    assert sample(sampling, 30, changed(range(30 - DELAY + 1, 30))) == expected
    assert sample(sampling, 30, changed(range(30 - DELAY + 1))) != expected
    if sampler == "tpe":  # One trial need not change the parents of nsga2.
        worst, best = (
            finish(0, fixed_point(sampling.define, finished[30 - DELAY].params), sampling)
            for _ in range(2)
        )
        worst.number = best.number = 30 - DELAY
        worst.values, best.values = [-1e6, 1e6][:objectives], [1e6, -1e6][:objectives]
        before = finished[: 30 - DELAY]
        assert sample(sampling, 30, [*before, worst]) != sample(sampling, 30, [*before, best])


@pytest.mark.parametrize(("sampler", "objectives"), [("tpe", 1), ("random", 1), ("nsga2", 2)])
def test_a_trial_depends_on_the_seed_and_on_its_number(sampler, objectives):
    sampling = plan(sampler, smooth, objectives)
    finished = serial(sampling, 30)
    other_seed = replace(sampling, seed=6)
    assert sample(sampling, 30, finished) != sample(other_seed, 30, finished)
    # The first random trials are drawn with the seed `seed + n`, whatever seed and n are.
    assert sample(sampling, 4, []) == sample(other_seed, 3, []) != sample(sampling, 3, [])


def test_a_trial_does_not_depend_on_attributes_and_times():
    sampling = plan("tpe")
    finished = serial(sampling, 20)
    expected = sample(sampling, 20, finished)
    for trial in finished:
        trial.user_attrs = {"worker": os.getpid()}
        trial.system_attrs = {"tpe:relative_params:0": "{}", "constraints": [9.0]}
        trial.datetime_complete = trial.datetime_start = None
    assert sample(sampling, 20, finished) == expected


def searches():
    """Return the first trials of all samplers."""
    return [search(plan(sampler, objectives=n), 20, workers=1) for sampler, n in PLANS]


def test_another_process_with_another_order_of_sets_chooses_the_same():
    program = "from tests.components.search import test_sampling as t; print(t.searches())"
    for seed in ("1", "2"):
        printed = subprocess.check_output(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            text=True,
        )
        assert printed == f"{searches()}\n"


def test_a_missing_result_is_an_error():
    sampling = plan("tpe")
    finished = serial(sampling, 12)
    assert needed_trials(sampling, 12) == range(5)
    with pytest.raises(ValueError, match=r"trial 12 needs the results of the trials \[0, 4\]"):
        sample(sampling, 12, finished[1:4])
    finished[4].state = TrialState.RUNNING
    with pytest.raises(ValueError, match=r"trial 12 needs the results of the trials \[4\]"):
        sample(sampling, 12, finished)


@pytest.mark.parametrize(("sampler", "objectives"), PLANS)
def test_a_trial_whose_sampler_looks_at_no_result_waits_for_none(sampler, objectives):
    sampling = plan(sampler, objectives=objectives)
    finished = serial(sampling, 20)
    free = [n for n in range(20) if not needed_trials(sampling, n)]
    assert free == list(range(20 if sampler in ("random", "grid") else 3 + DELAY))
    assert all(sample(sampling, n, []) == sample(sampling, n, finished) for n in free)


def test_trial_0_is_what_params_yaml_says_and_the_start_points_follow():
    for sampler, objectives in PLANS:
        sampling = plan(sampler, objectives=objectives)
        assert [sample(sampling, n, []).overrides for n in (0, 1)] == [WRITTEN, START]
        assert list(sample(sampling, 0, []).distributions) == ["optimizer", "layers"]
        assert list(sample(sampling, 1, []).distributions) == ["optimizer", "layers", "beta"]


@pytest.mark.parametrize(
    "outside",
    [
        {"optimizer": "adam", "layers": 5, "beta": 0.7},
        {"optimizer": "rmsprop", "layers": 2},
        {"optimizer": "adam", "layers": 2},
        {"optimizer": "adam", "layers": 2, "beta": 0.73},
    ],
)
@pytest.mark.parametrize(("sampler", "objectives"), PLANS)
def test_params_outside_of_the_space_are_tried_and_nothing_is_learned_from_them(
    outside, sampler, objectives
):
    sampling = plan(sampler, objectives=objectives, fixed=(outside,))
    assert sample(sampling, 0, []) == Point(outside)
    finished = serial(sampling, 30 if sampler != "grid" else 20)
    expected = sample(sampling, len(finished), finished)
    finished[0].values = [-1e9, 1e9][:objectives]
    assert sample(sampling, len(finished), finished) == expected


def test_tpe_finds_better_trials_than_random_in_spite_of_the_delay():
    def objective(overrides):
        return -abs(overrides["rate"] - 0.02) * 10 - abs(overrides["dropout"] - 0.3)

    def mean_of_last(sampler, seed):
        sampling = replace(plan(sampler, smooth, fixed=()), seed=seed)
        finished = []
        for number in range(50):
            point = sample(sampling, number, finished)
            trial = finish(0, point, sampling)
            trial.number, trial.values = number, [objective(point.overrides)]
            finished.append(trial)
        return sum(trial.value for trial in finished[30:]) / 20

    for seed in (0, 1000, 2000):
        assert mean_of_last("tpe", seed) > mean_of_last("random", seed) + 0.1


def test_tpe_avoids_where_trials_fail():
    def share_that_fails(sampler):
        sampling = plan(sampler, smooth, fixed=())
        finished = []
        for number in range(60):
            point = sample(sampling, number, finished)
            trial = finish(0, point, sampling)
            trial.number, trial.state = number, TrialState.COMPLETE
            trial.values = [0.5]
            if point.overrides["rate"] > 0.003:  # Half of the logarithmic range.
                trial.state, trial.values = TrialState.FAIL, None
            finished.append(trial)
        return sum(trial.state == TrialState.FAIL for trial in finished[30:]) / 30

    assert share_that_fails("random") > 0.3
    assert share_that_fails("tpe") < 0.15


def test_nsga2_builds_the_generations_that_optuna_builds(monkeypatch):
    """With one worker and no delay, Optuna itself is the reference."""
    monkeypatch.setattr(module, "DELAY", 1)
    sampling = plan("nsga2", smooth, objectives=2, fixed=())
    finished = serial(sampling, 25)
    sampler = optuna.samplers.NSGAIISampler(population_size=4)
    study = optuna.create_study(directions=sampling.directions, sampler=sampler)
    for trial in finished:
        asked = study.ask()
        smooth(asked)
        study.tell(asked, trial.values, trial.state)

    def generations(trials):
        return [trial.system_attrs["NSGAIISampler:generation"] for trial in trials]

    rebuilt = generations(module._build_study(sampling, 25, finished).trials)
    assert rebuilt == generations(study.trials)
    assert rebuilt[-1] == 4


def test_a_trial_of_nsga2_belongs_to_the_generation_of_what_it_saw():
    sampling = plan("nsga2", smooth, objectives=2, fixed=())
    trials = module._build_study(sampling, 30, serial(sampling, 30)).trials
    # Of the first trials, 3 and 5 are not complete. So four are complete from trial 4 on, and trial
    # 4 + DELAY is the first that sees them.
    first = next(
        trial.number for trial in trials if trial.system_attrs["NSGAIISampler:generation"] == 1
    )
    assert first == 4 + DELAY


def test_a_point_outside_of_the_space_is_in_no_population_of_nsga2():
    sampling = plan("nsga2", smooth, objectives=2, fixed=({"rate": 9.0},))
    trials = module._build_study(sampling, 30, serial(sampling, 30)).trials
    # The trials 1, 2, 4 and 6 are complete and inside.
    generations = [trial.system_attrs["NSGAIISampler:generation"] for trial in trials]
    assert generations.index(1) == 6 + DELAY - 1  # The study has no trial 0.


def paired(trial):
    """Two values with one condition: TPE samples them together."""
    values = conditional(trial)
    if values["optimizer"] == "adam":
        values["epsilon"] = trial.suggest_float("epsilon", 1e-8, 1e-2, log=True)
    return values


@pytest.mark.parametrize("define", [paired, smooth])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_tpe_without_delay_is_optunas_own(monkeypatch, define):
    monkeypatch.setattr(module, "DELAY", 1)
    sampling = plan("tpe", define, fixed=())
    study = optuna.create_study(direction="maximize")
    finished = []
    for number in range(30):
        study.sampler = optuna.samplers.TPESampler(
            seed=5 + number, n_startup_trials=4, multivariate=True, group=True
        )
        trial = study.ask()
        expected = define(trial)
        point = sample(sampling, number, finished)
        assert point.overrides == expected
        finished.append(finish(0, point, sampling))
        finished[-1].number = number
        study.tell(trial, finished[-1].value)


def test_a_grid_has_each_point_once_also_if_one_choice_depends_on_another():
    points = [point.overrides for point in plan("grid").grid]
    adam = [(layers, beta) for layers in (1, 2, 3, 4) for beta in (0.5, 0.6, 0.7, 0.8, 0.9)]
    found = [(p["layers"], round(p["beta"], 9)) for p in points if p["optimizer"] == "adam"]
    assert sorted(found) == adam
    assert sorted(p["layers"] for p in points if p["optimizer"] == "sgd") == [1, 2, 3, 4]
    assert all(("beta" in p) == (p["optimizer"] == "adam") for p in points)
    assert all(p.get("beta", 0.5) <= 0.9 for p in points)


def test_a_grid_is_shuffled_by_the_seed_and_ends():
    sampling = plan("grid")
    points = [sample(sampling, number, []) for number in range(26)]
    assert points[2:] == sampling.grid
    assert sampling.grid != replace(sampling, seed=6).grid
    assert sample(sampling, 26, []) is None


def test_a_grid_without_an_end_is_refused():
    with pytest.raises(ValueError, match=r"a grid needs choices or a step. Received: rate, "):
        sample(plan("grid", smooth), 2, [])

    def huge(trial):
        return {name: trial.suggest_int(name, 1, 100) for name in ("a", "b", "c")}

    with pytest.raises(ValueError, match="at most 10,000 points"):
        sample(plan("grid", huge), 2, [])
    wide = plan("grid", lambda trial: {"a": trial.suggest_int("a", 1, 2**53)})
    with pytest.raises(ValueError, match=r"at most 10,000 points. Received: a, 9007199254740992"):
        sample(wide, 2, [])


def test_a_space_without_choices_is_a_grid_of_one_point():
    assert [point.overrides for point in plan("grid", lambda trial: {}).grid] == [{}]


def test_the_search_space_of_params_yaml_is_sampled(params):
    written = Hyperparameters(model=params.model, train=params.train)
    values = {
        "train.weight_decay": Range(low=1e-5, high=0.1, log=True),
        "model.dropout": Choices(choices=(0.0, 0.2)),
    }
    sampling = plan("tpe", lambda trial: suggest(trial, values, written), fixed=())
    point = sample(sampling, 3, [])
    assert point.overrides.keys() == point.distributions.keys() == values.keys()
    assert written.with_overrides(point.overrides).value("model.dropout") in (0.0, 0.2)


def test_optuna_says_nothing_and_keeps_its_settings(capfd):
    before = optuna.logging.get_verbosity()
    serial(plan("tpe"), 14)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")
