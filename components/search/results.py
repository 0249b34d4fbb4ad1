"""The results of a search, as its page and its pictures show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from components.params.search import Space
from components.search.picture_study import choice_text, complete_trials, picture_study
from components.search.trial import Trial
from components.words import size_text


@dataclass(frozen=True)
class Results:
    """What the pictures show of a search.

    trials: the finished trials, in any order. objectives: name → `maximize` or `minimize`; the
    first one is the quality, the others are costs. space: the search space. chosen: the number of
    the trial whose hyperparameters are used, None if there is none.
    """

    trials: Sequence[Trial]
    objectives: Mapping[str, str]
    space: Space
    chosen: int | None

    @property
    def quality(self) -> str:
        """The name of the first objective."""
        return next(iter(self.objectives))

    @cached_property
    def complete(self) -> list[Trial]:
        """The complete trials with a value of the first objective, by number."""
        return complete_trials(self.trials, self._first)

    @cached_property
    def study(self) -> Any:
        """The complete trials as an Optuna study with the first objective."""
        return picture_study(self.trials, self._first, self.space)

    @property
    def _first(self) -> Mapping[str, str]:
        return {self.quality: self.objectives[self.quality]}


def value_text(objective: str, value: float) -> str:
    """Write a value of an objective.

    >>> value_text("val_accuracy", 0.91234), value_text("multiply_adds", 12345678.0)
    ('0.9123', '12,345,678')
    >>> value_text("bytes", 2**21)
    '2 MiB'
    """
    if objective == "bytes":
        return size_text(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def setting_text(value: object) -> str:
    """Write a value of a hyperparameter.

    >>> setting_text(0.00123456), setting_text("gem"), setting_text(False)
    ('0.001235', 'gem', 'false')
    """
    return f"{value:.4g}" if isinstance(value, float) else choice_text(value)
