"""The sections of params.yaml → the hyperparameters of each trial, and what its first rung trains.

A first rung that trains only the head does not reach the hyperparameters of fine-tuning. Its
results say nothing about them, so the sampler must not learn them from these results: it would
learn noise. They are drawn at random, and each finalist has its own.
"""

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

from components.params.hyperparameters import Hyperparameters
from components.params.search import ALL, HEAD, Search, Space
from components.params.search_rungs import reached
from components.search.memory_study import memory_study
from components.search.points import Chooser, Point
from components.search.sampling import Sampling, needed_trials, sample
from components.search.space import start_points, suggest
from components.search.tasks import Task


class Planning:
    """Chooses the trials of a search.

    search: the section `search`. written: the hyperparameters in params.yaml. The seed of trial n
    is `written.train.seed` + n.
    """

    def __init__(self, search: Search, written: Hyperparameters) -> None:
        self._search, self._written = search, written
        space = search.space
        self._reached = reached(search, written)
        first: Space = {name: values for name, values in space.items() if name in self._reached}
        directions = tuple(search.directions[name] for name in search.objectives)
        self._sampling = Sampling(
            define=partial(suggest, space=first, written=written),
            fixed=tuple(start_points(search, written)),
            sampler=search.sampler,
            seed=written.train.seed,
            startup_trials=search.startup_trials,
            directions=directions,
            compares=search.pruner != "none",
        )

    def needed(self, number: int) -> range:
        """Return the numbers of the trials that must be finished before a trial is chosen."""
        return needed_trials(self._sampling, number)

    def choose(self, number: int, finished: Sequence[Any]) -> Point | None:
        """Return the hyperparameters of a trial, or None if a grid has no further point.

        finished: the finished trials (optuna.trial.FrozenTrial) of the first rung.
        """
        if number < len(self._sampling.fixed):
            return self._whole(self._sampling.fixed[number])
        point = sample(self._sampling, number, finished)
        return point and self._with_later(point, number)

    def first_task(self, number: int, point: Point) -> Task:
        """Return what a trial trains in the first rung."""
        epochs = self.epochs(point.overrides)
        first = self._search.first_rung
        until = {HEAD: 0, ALL: None}.get(first) if isinstance(first, str) else min(first, epochs)
        return Task(number, point.overrides, until)

    def epochs(self, overrides: dict[str, Any]) -> int:
        """Return how many epochs of the phase `finetune` a complete training has."""
        return self._written.with_overrides(overrides).train.finetune.epochs

    @cached_property
    def _later(self) -> list[str]:
        return [name for name in self._search.space if name not in self._reached]

    def _whole(self, overrides: dict[str, Any]) -> Point:
        """Return a given point, without the distributions that the first rung does not reach."""
        from components.search.points import fixed_point

        point = fixed_point(self._sampling.define, overrides)
        return Point(overrides, point.distributions)

    def _with_later(self, point: Point, number: int) -> Point:
        """Return the point with random values of what the first rung does not reach."""
        if not self._later:
            return point
        import optuna

        seed = (self._written.train.seed + number) % 2**32
        study = memory_study(optuna.samplers.RandomSampler(seed=seed))
        trial = study.ask()

        def choose(name: str, distribution: Any) -> Any:
            if name in point.overrides:
                return point.overrides[name]
            return trial._suggest(name, distribution)

        whole = suggest(Chooser(choose), self._search.space, self._written)
        return Point(whole, point.distributions)
