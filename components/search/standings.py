"""The finished rows of the rungs of a search → its trials, and which of them are the best.

The coordinator decides with it while a search runs. `fovea study` shows the same, also of a search
that has ended or was interrupted.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from components.params.search import Search
from components.search.claims import FAILURE, RETRIES, TASK
from components.search.halving import best_trials
from components.search.space import Overrides
from components.search.tasks import Task
from components.search.trial import State, Trial

STATES: Mapping[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


class Standings:
    """The trials of a search as far as they are known.

    search: the section of params.yaml. epochs: overrides → how many epochs of the phase `finetune`
    a complete training with them has, see `Planning.epochs`.
    """

    def __init__(self, search: Search, epochs: Callable[[Overrides], int]) -> None:
        self._search, self._all_epochs = search, epochs
        self._maximize = search.directions[search.quality] == "maximize"
        self._trials: dict[int, Trial] = {}
        self._rung_of: dict[int, int] = {}  # trial → the last rung that it has come to
        self._rows: dict[int, list[Any]] = {}
        self._folds: dict[int, dict[int, float]] = {}  # trial → fold → value, NaN if it failed

    @property
    def trials(self) -> list[Trial]:
        """Return all trials that have finished a rung, by number."""
        return [self._trials[number] for number in sorted(self._trials)]

    def has(self, number: int) -> bool:
        """Return whether a trial has finished a rung."""
        return number in self._trials

    def trial(self, number: int) -> Trial:
        """Return one of these trials."""
        return self._trials[number]

    def rows(self, number: int) -> list[Any]:
        """Return the finished rows of a trial (optuna.trial.FrozenTrial), oldest rung first.

        Confirmations are not among them.
        """
        return self._rows[number]

    def epochs(self, number: int) -> int:
        """Return how many epochs of the phase `finetune` a complete training of a trial has."""
        return self._all_epochs(self._trials[number].overrides)

    def learn(self, row: Any, rung: int) -> None:
        """Take over a finished row (optuna.trial.FrozenTrial). rung: 0 for the first one.

        A confirmation is no result of the search, so it changes no value of its trial.
        """
        task = Task.from_tree(row.user_attrs[TASK])
        if task.fold is not None:
            value = float(row.values[0]) if row.values else math.nan
            self._folds.setdefault(task.trial, {})[task.fold] = value
            return
        self._rows.setdefault(task.trial, []).append(row)
        before = self._trials.get(task.trial)
        state = STATES[row.state.name]
        note = str(row.user_attrs.get(FAILURE) or row.user_attrs.get(RETRIES) or "")
        values = dict(zip(self._search.objectives, row.values or [], strict=False))
        if state == "pruned" and row.intermediate_values:
            values = {self._search.quality: row.intermediate_values[row.last_step]}
        self._rung_of[task.trial] = rung
        epochs = self._all_epochs(task.overrides) if task.epochs is None else task.epochs
        if state == "failed" and before:
            epochs = before.epochs
        self._trials[task.trial] = Trial(
            task.trial,
            state,
            task.overrides,
            values,
            epochs,
            note=note,
            first=before.first if before else values,
        )

    def confirm(self, numbers: Sequence[int]) -> None:
        """Give trials their confirmed values, of the folds on which all of them were trained.

        Only then they can be compared in pairs. If a search was stopped, some folds are missing.
        """
        folds = [set(self._folds.get(number, {})) for number in numbers]
        common = sorted(set.intersection(*folds)) if folds else []
        for number in numbers:
            confirmed = tuple(self._folds[number][fold] for fold in common)
            self._trials[number] = replace(self._trials[number], confirmed=confirmed)

    def confirmed(self) -> list[int]:
        """Return the numbers of the trials that were trained on at least one fold."""
        return sorted(self._folds)

    def ranked(self, count: int | None = None) -> list[int]:
        """Return the numbers of the best trials that are within all costs, the best one first.

        Values of different rungs cannot be compared, so a trial that has come further is better.
        """
        rungs = sorted({*self._rung_of.values()}, reverse=True)
        ranked = [
            number
            for rung in rungs
            for number in self.best([n for n, own in self._rung_of.items() if own == rung])
        ]
        return ranked[:count]

    def best(self, numbers: Sequence[int], count: int | None = None) -> list[int]:
        """Return the best ones of these trials, by their values alone."""
        values = {number: self._value(self._trials[number]) for number in numbers}
        return best_trials(values, len(values) if count is None else count)

    def _value(self, trial: Trial) -> float | None:
        """Return the quality of a trial as a number that is better if it is higher."""
        if trial.state != "complete" or not within(trial, self._search.within):
            return None
        value = trial.values[self._search.quality]
        return value if self._maximize else -value


def within(trial: Trial, costs: Mapping[str, float]) -> bool:
    """Return whether all costs of a trial are known and at most their maximum."""
    return all(trial.values.get(name, math.inf) <= most for name, most in costs.items())
