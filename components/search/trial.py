"""What is known of a trial when its search is over."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from components.search.space import Overrides

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """A trial of a search, with the result of the last rung that it reached.

    number: the position of the trial in the search; the first one is 0. state: `complete`, `pruned`
    (stopped early) or `failed`. overrides: its hyperparameters, a dict from names (such as
    `model.dropout`) to values, without those whose condition `when` does not hold. values: the name
    of an objective, such as `val_macro_f1` → its value; empty if the trial failed. A pruned trial
    has the value of its last epoch. epochs: how many epochs of fine-tuning it was trained for.
    confirmed: the values of the first objective in trainings that only confirm it, one for each
    fold; empty if it was not confirmed. note: why it failed, or what was retried; mostly empty.
    first: as `values`, after the first rung, where all trials can be compared.
    """

    number: int
    state: State
    overrides: Overrides
    values: Mapping[str, float] = field(default_factory=dict)
    epochs: int = 0
    confirmed: tuple[float, ...] = ()
    note: str = ""
    first: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Course:
    """How a trial went. curve: epoch → quality, of its longest training. began, ended: when, in
    local time. seconds: of all its trainings together. worker: the last one. attempts: how many
    workers its trainings were given to.
    """

    curve: Mapping[int, float]
    began: datetime
    ended: datetime
    seconds: float
    worker: str
    attempts: int
