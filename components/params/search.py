"""Section `search`: the Optuna study that chooses hyperparameters."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from components.params.section import Count, Positive, Section, require


class Choices(Section):
    """The values that a trial may choose, as a list."""

    choices: tuple[str | int | float | bool, ...] = Field(min_length=1)


class Range(Section):
    """The values that a trial may choose: all numbers from low to high, both included."""

    low: int | float
    high: int | float
    log: bool = Field(description="true: search on a logarithmic scale")

    @model_validator(mode="after")
    def _check_bounds(self) -> "Range":
        require(self, self.low < self.high, "low must be below high")
        return require(self, not self.log or self.low > 0, "a log range must start above 0")


def _kind(values: Any) -> str:
    """Return "range" if `values` has the key `low` or `high`, otherwise "choices".

    pydantic calls this function to choose one class: Range for "range", and Choices for "choices".
    Only the chosen class checks `values`. So a user sees no errors from the other class.

    values: an entry of `search.space`. It is a dict if it was read from params.yaml. It can also be
    an object of the class Range or Choices.
    """
    given = values if isinstance(values, dict) else getattr(values, "__dict__", {})
    return "range" if "low" in given or "high" in given else "choices"


SpaceValues = Annotated[
    Annotated[Choices, Tag("choices")] | Annotated[Range, Tag("range")], Discriminator(_kind)
]


class Search(Section):
    """The Optuna study that chooses hyperparameters before training."""

    trials: Count = Field(
        description="number of trials; 0: no search, all values are from params.yaml"
    )
    maximize: Literal["val_accuracy", "val_balanced_accuracy"]
    epochs: Positive = Field(description="maximum number of fine-tune epochs of a trial")
    startup_trials: Positive = Field(
        description="number of trials with random values; for later trials TPE chooses the values, "
        "and bad trials are stopped early"
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
