"""Section `search`: the Optuna study that chooses hyperparameters.

A study consists of trials. A trial is one training with values that Optuna chooses.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from graphlib import TopologicalSorter
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from components.params.section import Count, Positive, Section, require

Value = str | int | float | bool
When = Annotated[
    dict[str, Annotated[tuple[Value, ...], Field(min_length=1)]],
    Field(
        min_length=1,
        description="dotted name of another hyperparameter of the space → values; only trials in "
        "which the other one has been chosen, and has one of these values, choose a value of this "
        "one; all other trials use its value in params.yaml",
    ),
]
MOST_STEPS = 10_000


class Choices(Section):
    """The values of one hyperparameter that a search may try, as a list."""

    choices: tuple[Value, ...] = Field(min_length=1)
    when: When = Field(default_factory=dict)  # left out: every trial chooses a value

    @model_validator(mode="after")
    def _check_choices(self) -> "Choices":
        choices = self.choices
        again = [value for n, value in enumerate(choices) if is_one_of(value, choices[:n])]
        require(self, not again, "a value is written twice in `choices`; remove one of the two")
        rule = (
            "one value only is no choice; add another value, or write the value into its section "
            "and remove this key"
        )
        return require(self, len(choices) > 1, rule)


class Range(Section):
    """The values of one hyperparameter that a search may try: all numbers from low to high.

    The range includes the numbers low and high. With a step, it has only the numbers low,
    low + step, low + 2 * step, …, high.
    """

    low: int | float
    high: int | float
    log: bool = Field(description="true: search on a logarithmic scale")
    step: Annotated[int | float, Field(gt=0)] = Field(
        default=0, description="distance between two values; left out: no step"
    )
    when: When = Field(default_factory=dict)  # left out: every trial chooses a value

    @model_validator(mode="after")
    def _check_bounds(self) -> "Range":
        require(self, self.low < self.high, "low must be below high")
        rule = "low must be above 0 if log is true"
        return require(self, not self.log or self.low > 0, rule)

    @model_validator(mode="after")
    def _check_step(self) -> "Range":
        if not self.step:
            return self
        rule = "a logarithmic scale has no step; remove `step`, or write `log: false`"
        require(self, not self.log, rule)
        low, high, step = (Decimal(str(number)) for number in (self.low, self.high, self.step))
        rule = "step must be at most high - low; write a smaller step"
        require(self, step <= high - low, rule)
        steps = (high - low) // step
        last = f"{(low + steps * step).normalize():f}"
        rule = (
            f"step must divide high - low, because the last value would be {last}; write "
            f"`high: {last}`, or another step"
        )
        require(self, low + steps * step == high, rule)
        rule = f"step gives more than {MOST_STEPS} values; write a larger step, or remove `step`"
        return require(self, steps < MOST_STEPS, rule)


def _kind(values: Any) -> str:
    """Return "a range" if `values` has the key `low` or `high`, otherwise "a list".

    pydantic calls this function to choose one class: Range for "a range", and Choices for "a list".
    Only the chosen class checks `values`. So a user sees no errors from the other class.

    values: an entry of `search.space`. The entry is a dict if it was read from params.yaml.
    Otherwise the entry is an object of the class Range or Choices.
    """
    given = values if isinstance(values, dict) else getattr(values, "__dict__", {})
    return "a range" if "low" in given or "high" in given else "a list"


SpaceValues = Annotated[
    Annotated[Choices, Tag("a list")] | Annotated[Range, Tag("a range")], Discriminator(_kind)
]
Space = Mapping[str, SpaceValues]


class Search(Section):
    """The Optuna study that chooses hyperparameters before training.

    The first trial uses the values in params.yaml if these values are in the search space. The
    trials after it use the points of `start`.
    """

    trials: Count = Field(
        description="number of trials; 0: no search, all values are from params.yaml"
    )
    maximize: Literal["val_accuracy", "val_balanced_accuracy"]
    epochs: Positive = Field(
        description="maximum number of epochs of a trial in the phase `finetune`"
    )
    startup_trials: Positive = Field(
        description="number of trials at the start, with random values; Optuna's method TPE "
        "chooses the values of all later trials, and later trials with low scores stop early"
    )
    start: tuple[dict[str, Value], ...] = Field(
        description="points of the space that the first trials try, after the values in "
        "params.yaml; a point is a dotted name → a value, for each hyperparameter of the space"
    )
    space: dict[str, SpaceValues] = Field(
        description="dotted name of a hyperparameter → the values to try"
    )


def suggestion_order(space: Space) -> list[str]:
    """Return the names of the space in the order in which a trial chooses their values.

    First come the names without a condition, then those with conditions about them, and so on; each
    of these groups is sorted. So the order does not depend on the lines of params.yaml. Raises
    graphlib.CycleError if names wait for each other.

    >>> when = {"model.pooling": ("gem",)}
    >>> values = {"choices": (0.1, 0.2)}
    >>> suggestion_order({"model.l1": Choices(**values, when=when), "model.l2": Choices(**values),
    ...                   "model.pooling": Choices(choices=("avg", "gem"))})
    ['model.l2', 'model.pooling', 'model.l1']
    """
    sorter = TopologicalSorter({name: values.when for name, values in space.items()})
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order


def is_chosen(values: SpaceValues, chosen: Mapping[str, object]) -> bool:
    """Return whether a trial chooses one of `values`, because their condition `when` holds.

    chosen: the values that the trial has chosen until now, by the order of `suggestion_order`. A
    name that the trial has not chosen has none of the values of a condition.
    """
    return all(
        name in chosen and is_one_of(chosen[name], wanted) for name, wanted in values.when.items()
    )


def is_one_of(value: object, values: Iterable[object]) -> bool:
    """Return whether a value is among others. Unlike in Python, true is not the number 1."""
    return any(
        value == other and isinstance(value, bool) == isinstance(other, bool) for other in values
    )


def finite_values(values: SpaceValues, written: object) -> Sequence[Any] | None:
    """Return all values that a trial may choose, or None if they are all numbers of a range.

    written: the value of the hyperparameter in params.yaml. If it is an integer, the values of a
    range are integers, also without a step.

    >>> finite_values(Range(low=0.1, high=0.5, log=False, step=0.2), 0.0)
    (0.1, 0.3, 0.5)
    """
    if isinstance(values, Choices):
        return values.choices
    if isinstance(written, int):
        return range(int(values.low), int(values.high) + 1, int(values.step or 1))
    if not values.step:
        return None
    # Sums of floats would give 0.30000000000000004, which equals no number that a user writes.
    low, high, step = (Decimal(str(number)) for number in (values.low, values.high, values.step))
    return tuple(float(low + number * step) for number in range(int((high - low) / step) + 1))


def is_inside(value: object, values: SpaceValues, written: object) -> bool:
    """Return whether a trial may choose `value`. For `written`, see `finite_values`."""
    if isinstance(values, Choices):
        return is_one_of(value, values.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    finite = finite_values(values, written)
    return bool(values.low <= value <= values.high) if finite is None else value in finite
