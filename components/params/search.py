"""Section `search`: the Optuna study that chooses hyperparameters.

A study consists of trials. A trial is one training with values that Optuna chooses.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from components.params.section import Count, Positive, Section, require


class Choices(Section):
    """The values of one hyperparameter that a search may try, as a list."""

    choices: tuple[str | int | float | bool, ...] = Field(min_length=1)


class Range(Section):
    """The values of one hyperparameter that a search may try: all numbers from low to high.

    The range includes the numbers low and high.
    """

    low: int | float
    high: int | float
    log: bool = Field(description="true: search on a logarithmic scale")

    @model_validator(mode="after")
    def _check_bounds(self) -> "Range":
        require(self, self.low < self.high, "low must be below high")
        rule = "low must be above 0 if log is true"
        return require(self, not self.log or self.low > 0, rule)


def _kind(values: Any) -> str:
    """Return "range" if `values` has the key `low` or `high`, otherwise "choices".

    pydantic calls this function to choose one class: Range for "range", and Choices for "choices".
    Only the chosen class checks `values`. So a user sees no errors from the other class.

    values: an entry of `search.space`. The entry is a dict if it was read from params.yaml.
    Otherwise the entry is an object of the class Range or Choices.
    """
    given = values if isinstance(values, dict) else getattr(values, "__dict__", {})
    return "range" if "low" in given or "high" in given else "choices"


SpaceValues = Annotated[
    Annotated[Choices, Tag("choices")] | Annotated[Range, Tag("range")], Discriminator(_kind)
]


class Search(Section):
    """The Optuna study that chooses hyperparameters before training.

    The first trial uses the values in params.yaml if these values are in the search space.
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
    space: dict[str, SpaceValues] = Field(
        description="dotted name of a hyperparameter → the values to try"
    )


def extremes(values: Choices | Range) -> tuple[object, ...]:
    """Return the values to check: all choices, or the lowest and the highest value of a range.

    Every rule about a number is a minimum or a maximum. So if the lowest and the highest value of a
    range are valid, all numbers in the range are valid.
    """
    return values.choices if isinstance(values, Choices) else (values.low, values.high)
