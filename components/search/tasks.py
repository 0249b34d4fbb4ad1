"""A trial and a rung → a task: the training that a worker runs, and what it reports.

A trial comes to several rungs, each of which is a study of its own in the database: its first rung,
the rounds of the finalists, and its confirmation. A task is one row of such a study.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from components.search.space import Overrides

# (epoch, value of the quality): is called after each epoch. The epochs of the phase `finetune` are
# 1, 2, …; those of the phase `head` before it end with 0. If only the head is trained, its epochs
# are 1, 2, ….
OnValue = Callable[[int, float], None]


@dataclass(frozen=True)
class Task:
    """One training of a trial.

    trial: the number of the trial. overrides: its hyperparameters. epochs: until which epoch of the
    phase `finetune` it trains; 0: only the phase `head`; None: all epochs. fold: the number of the
    fold in whose val it is confirmed, or None.
    """

    trial: int
    overrides: Overrides
    epochs: int | None
    fold: int | None = None

    def to_tree(self) -> dict[str, Any]:
        """Return the task as a tree that JSON can write."""
        return asdict(self)

    @staticmethod
    def from_tree(tree: Mapping[str, Any]) -> "Task":
        """Return the task of such a tree."""
        return Task(**tree)


class PrunedError(Exception):
    """A trial stops early, because it is worse than most earlier trials."""


# Trains a classifier, calls OnValue, and returns a value for each objective.
RunTask = Callable[[Task, OnValue], Mapping[str, float]]
