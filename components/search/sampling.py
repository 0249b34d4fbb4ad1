"""The results of earlier trials → the hyperparameters of trial n, equal for any number of workers.

Guarantee: the hyperparameters of trial n are a function of the search space, the seed, n, and the
results of the trials 0 to n - DELAY. They do not depend on which other trials are finished, on the
order in which trials finished, on clocks, or on the process that computes them. So one worker and
DELAY workers run the same trials.

Example with DELAY = 8. Trial 10 is chosen from the results of the trials 0, 1 and 2. With one
worker, the trials 3 to 9 are finished, too, but they are not looked at. With 8 workers, the trials
3 to 9 may still be running, and trial 10 can start.

Optuna chooses: for each trial a new Optuna study is built in memory from the allowed results, and
a new sampler with the seed `seed + n` is asked once.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from components.search.grid import shuffled_grid
from components.search.memory_study import memory_study
from components.search.points import Define, Point, fixed_point
from components.search.space import Overrides

# Trial n is chosen from the results of the trials up to n - DELAY, so up to DELAY trials can run at
# the same time. Changing it changes the trials of every search.
DELAY = 8


@dataclass(frozen=True)
class Sampling:
    """How the hyperparameters of all trials are chosen.

    define: the search space, a function. It is called with an object that has the methods
        `suggest_float`, `suggest_int` and `suggest_categorical` of an optuna.Trial. It returns the
        suggested values, a dict from the same names. What it asks for may depend on values that it
        received before, for example `beta` only if the optimizer is adam.
    fixed: the first trials, in this order: the params as written, then the start points.
    sampler: `tpe`, the tree-structured Parzen estimator (Bergstra et al., 2011), multivariate
        (Falkner et al., 2018) if there is one objective; `nsga2`, a genetic algorithm for several
        objectives (Deb et al., 2002); `cmaes`, an evolution strategy for numbers (Hansen, 2016);
        `random`; or `grid`, all combinations in a shuffled order.
    seed: trial n is drawn with seed + n. A grid is shuffled with `seed`.
    startup_trials: tpe draws at random until it sees so many results, so the first
        startup_trials + DELAY - 1 trials are random. For nsga2 it is the size of a population.
    directions: `maximize` or `minimize` for each objective.
    compares: a trial may stop early, because it is compared with `seen_trials`. So these must be
        finished before it starts.
    evolution: what CMA-ES has written down for each trial, see `_evolution`; start with an empty
        dict.
    """

    define: Define
    fixed: tuple[Overrides, ...]
    sampler: Literal["tpe", "cmaes", "nsga2", "random", "grid"]
    seed: int
    startup_trials: int
    directions: tuple[Literal["maximize", "minimize"], ...] = ("maximize",)
    compares: bool = False
    evolution: dict[int, dict[str, Any]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def grid(self) -> list[Point]:
        """All points of the search space, in the order in which `grid` tries them."""
        return shuffled_grid(self.define, self.seed)


def seen_trials(number: int) -> range:
    """Return the numbers of the trials whose results may decide about trial `number`.

    >>> seen_trials(10)
    range(0, 3)
    >>> seen_trials(7)
    range(0, 0)
    """
    return range(max(0, number - DELAY + 1))


def needed_trials(sampling: Sampling, number: int) -> range:
    """Return the numbers of the trials that must be finished before trial `number` is chosen.

    These are `seen_trials`, but none if results decide nothing: for a fixed trial, for the samplers
    `random` and `grid`, and while there are so few results that the sampler draws at random. So
    these trials never wait for each other.
    """
    seen = seen_trials(number)
    if sampling.compares:
        return seen
    at_random = sampling.sampler in ("random", "grid") or len(seen) < _startup_trials(sampling)
    return range(0) if number < len(sampling.fixed) or at_random else seen


def sample(sampling: Sampling, number: int, finished: Sequence[Any]) -> Point | None:
    """Return the hyperparameters of trial `number`, or None if a grid has no further point.

    finished: finished trials (optuna.trial.FrozenTrial), in any order. All of
        `needed_trials(sampling, number)` must be among them; others are not looked at.

    Raises ValueError if a needed trial is missing or is not finished, or if the sampler is `grid`
    and the search space has a range without steps or too many points.
    """
    if number < len(sampling.fixed):
        return fixed_point(sampling.define, sampling.fixed[number])
    if sampling.sampler == "grid":
        index = number - len(sampling.fixed)
        return sampling.grid[index] if index < len(sampling.grid) else None
    study = _build_study(sampling, number, finished)
    trial = study.ask()
    overrides = sampling.define(trial)
    return Point(overrides, dict(trial.distributions))


def _build_study(sampling: Sampling, number: int, finished: Sequence[Any]) -> Any:
    """Return an Optuna study in memory that has the allowed trials, and the sampler for `number`.

    The allowed trials are added in the order of their numbers, because samplers look at the order:
    TPE gives later trials a higher weight.
    """
    by_number = {trial.number: trial for trial in finished if trial.state.is_finished()}
    numbers = needed_trials(sampling, number)
    missing = [needed for needed in numbers if needed not in by_number]
    if missing:
        raise ValueError(f"trial {number} needs the results of the trials {missing}")
    trials = [_as_seen(by_number[needed], sampling) for needed in numbers]
    if sampling.sampler == "cmaes":
        for number_of, trial in zip(numbers, trials, strict=True):
            trial.system_attrs = _evolution(sampling, number_of, finished)
    if sampling.sampler == "nsga2":
        _set_generations(trials, _startup_trials(sampling))
    # A point outside of the search space has no distributions. Nsga2 would find no hyperparameter
    # that all its trials have.
    trials = [trial for trial in trials if trial.distributions]
    sampler = _sampler(sampling, (sampling.seed + number) % 2**32)
    study = memory_study(sampler, sampling.directions)
    study.add_trials(trials)
    return study


def _sampler(sampling: Sampling, seed: int) -> Any:
    import optuna

    if sampling.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if sampling.sampler == "cmaes":
        return optuna.samplers.CmaEsSampler(
            seed=seed, n_startup_trials=sampling.startup_trials, warn_independent_sampling=False
        )
    if sampling.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=_startup_trials(sampling))
    with warnings.catch_warnings():
        # Optuna calls `group` experimental. With it, hyperparameters that only some trials have are
        # sampled together, too. (With several objectives, Optuna's TPE samples each one alone.)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=sampling.startup_trials,
            group=len(sampling.directions) == 1,
        )


def _as_seen(trial: Any, sampling: Sampling) -> Any:
    """Return the trial as the sampler sees it: without attributes and times.

    A failed trial is seen as a pruned one without an epoch. TPE ranks it below all others, so it
    avoids its neighbourhood, for example rates at which the loss becomes NaN. A trial in the state
    FAIL would be invisible to it.
    """
    import optuna

    states = optuna.trial.TrialState
    failed = trial.state == states.FAIL
    # Optuna's TPE cannot rank the values of epochs if there are several objectives.
    curve = trial.intermediate_values if len(sampling.directions) == 1 and not failed else {}
    return optuna.trial.create_trial(
        state=states.PRUNED if failed else trial.state,
        values=trial.values if trial.state == states.COMPLETE else None,
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values=dict(curve),
    )


def _evolution(sampling: Sampling, number: int, finished: Sequence[Any]) -> dict[str, Any]:
    """Return what Optuna's CMA-ES writes down when it chooses trial `number`.

    It is the state of the evolution, as a pickle. A pickle from a database could run code, so it is
    never stored: every process computes it again from the results, once for each trial.
    """
    if number not in sampling.evolution:
        notes: dict[str, Any] = {}
        if number >= len(sampling.fixed):
            study = _build_study(sampling, number, finished)
            trial = study.ask()
            sampling.define(trial)
            notes = study._storage.get_trial_system_attrs(trial._trial_id)
        sampling.evolution[number] = notes
    return sampling.evolution[number]


def _startup_trials(sampling: Sampling) -> int:
    """Return how many results a sampler needs. A population of nsga2 has at least two trials."""
    return (
        max(2, sampling.startup_trials) if sampling.sampler == "nsga2" else sampling.startup_trials
    )


def _set_generations(trials: Sequence[Any], population: int) -> None:
    """Write into each trial to which generation of NSGA-II it belongs, as Optuna's sampler does.

    Optuna counts the complete trials of the newest generation when it chooses a trial. If there are
    `population` of them, the trial starts the next generation. Trial m saw the trials up to
    m - DELAY, so exactly these are counted for it.
    """
    import optuna

    complete = optuna.trial.TrialState.COMPLETE
    generations: list[int] = []
    newest, count, seen = 0, 0, 0
    for number, trial in enumerate(trials):
        for earlier in seen_trials(number)[seen:]:
            seen += 1
            if trials[earlier].state != complete or not trials[earlier].distributions:
                continue
            if generations[earlier] > newest:
                newest, count = generations[earlier], 0
            count += generations[earlier] == newest
        generations.append(newest + (count >= population))
        trial.system_attrs = {"NSGAIISampler:generation": generations[-1]}
