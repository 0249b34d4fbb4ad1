"""Results of one data set and seed → the figures that have a target."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.recipes.results import Result
from tests.benchmarks.search.parts import best_trial

# What each figure must be: at most, or at least.
PASSED_S, IN_TIME_OF, HEADS_IN_TIME = 60, 4, 100
SPEED_UP, HEAD_S, FINETUNE_SHARE, MEMORY_SHARE = 1.7, 0.3, 0.1, 0.1

Events = Sequence[Sequence[float]]


def passed_s(ours: Events, others: Events) -> float | None:
    """Return after how many seconds we pass the best value of the others; None if never.

    Events are [seconds, best value until then, trials finished until then].

    >>> passed_s([[5, 0.7, 1], [8, 0.9, 2]], [[3, 0.6, 0], [90, 0.8, 1]])
    8
    """
    return next((seconds for seconds, best, _ in ours if best > others[-1][1]), None)


def trials_until(events: Events, seconds: float) -> int:
    """Return how many trials were finished until a time.

    >>> trials_until([[5, 0.7, 1], [8, 0.9, 2]], 7)
    1
    """
    return max((int(count) for ended, _, count in events if ended <= seconds), default=0)


def seconds_of(events: Events, trials: int) -> float | None:
    """Return when so many trials were finished; None if there were never so many."""
    return next((ended for ended, _, count in events if count >= trials), None)


def per_minute(trials: Sequence[Result], begin: int) -> float:
    """Return the trials a minute from the end of trial number `begin` until the last one.

    The first ones do not count: the processes start, and features are computed.

    >>> per_minute([{"ended": 20.0}, {"ended": 30.0}, {"ended": 50.0}], 1)
    4.0
    """
    seconds: float = trials[-1]["ended"] - trials[begin - 1]["ended"]
    return 60 * (len(trials) - begin) / seconds


def differing(ours: Sequence[Result], others: Sequence[Result]) -> int:
    """Return how many trials have other hyperparameters or another value, or are on one side only.

    >>> differing([{"number": 0, "overrides": {}, "value": 0.5}], [])
    1
    """
    sides = [
        {trial["number"]: (trial["overrides"], trial["value"]) for trial in side}
        for side in (ours, others)
    ]
    numbers = sides[0].keys() | sides[1].keys()
    return sum(sides[0].get(number) != sides[1].get(number) for number in numbers)


@dataclass(frozen=True)
class Overhead:
    """What a trial costs: with the search around it, and its training alone, in seconds.

    inside: from the moment that a worker takes the trial until it has finished it. once_s: from the
    start of the search to its first finished trial, and from the last one to its end. processes:
    the number of workers, one after the other. unequal: trainings alone with another value.
    """

    search_s: float
    inside_s: float
    bare_s: float
    once_s: float
    processes: int
    unequal: int

    @property
    def extra_s(self) -> float:
        """Return the seconds of a trial that are not its training."""
        return self.search_s - self.bare_s


def overhead(search: Result, bare: Result) -> Overhead:
    """Compare a search with one worker with its first trainings alone.

    The first trial of both does not count: Keras starts, and features are computed.
    """
    trials = search["trials"]
    values = {trial["number"]: trial["value"] for trial in trials}
    first, last = trials[0]["ended"], trials[-1]["ended"]
    return Overhead(
        search_s=(last - first) / (len(trials) - 1),
        inside_s=statistics.mean(trial["ended"] - trial["began"] for trial in trials[1:]),
        bare_s=statistics.mean(bare["seconds"][1:]),
        once_s=search["wall_s"] - (last - first),
        processes=search["processes"],
        unequal=sum(value != values[number] for number, value in enumerate(bare["values"])),
    )


@dataclass(frozen=True)
class Pruned:
    """A trial that was stopped. best: its best value until then. final: at its end, if it has any.

    gain: by how much `final` is better than the best trial of the search.
    """

    number: int
    epochs: int
    best: float
    final: float | None
    gain: float | None


def pruned(results: Sequence[Result]) -> tuple[Result, float | None, list[Pruned]]:
    """Return the best trial, how much its value varies with the seed, and the stopped trials.

    results: of the part `pruning`. The second value is a standard deviation, None without seeds.
    """
    by_change = {result["change"]: result for result in results}
    trials = by_change["search"]["trials"]
    winner = best_trial(trials)
    seeds: list[float] = []  # not that of the search, which has chosen the best trial by it
    stopped = []
    for change, result in by_change.items():
        final: Any = result.get("values", [None])[0]
        if change.startswith("best trial") and final is not None:
            seeds.append(final)
        if change.startswith("trial "):
            (trial,) = (one for one in trials if f"trial {one['number']}" == change)
            gain = None if final is None else final - winner["value"]
            stopped.append(Pruned(trial["number"], trial["epochs"], trial["value"], final, gain))
    return winner, statistics.stdev(seeds) if len(seeds) > 1 else None, stopped
