"""Section `search`: the Optuna study that chooses hyperparameters."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from components.params.section import Count, Positive, Section, require


class Choices(Section):
    """A list of values to choose from."""

    choices: tuple[str | int | float | bool, ...] = Field(min_length=1)


class Range(Section):
    """All numbers from low to high."""

    low: int | float
    high: int | float
    log: bool = Field(description="true: search on a logarithmic scale")

    @model_validator(mode="after")
    def _check_bounds(self) -> "Range":
        require(self, self.low < self.high, "low must be below high")
        return require(self, not self.log or self.low > 0, "a log range must start above 0")


def _kind(values: Any) -> str:
    """Return the tag of the type that the keys belong to: "range" or "choices".

    With the tag pydantic reports errors of that type only.
    """
    given = values if isinstance(values, dict) else getattr(values, "__dict__", {})
    return "range" if "low" in given or "high" in given else "choices"


SpaceValues = Annotated[
    Annotated[Choices, Tag("choices")] | Annotated[Range, Tag("range")], Discriminator(_kind)
]


class Search(Section):
    """The Optuna study that chooses hyperparameters before training."""

    trials: Count = Field(description="0: no search; every value is as in params.yaml")
    maximize: Literal["val_accuracy", "val_balanced_accuracy"]
    epochs: Positive = Field(description="maximum number of fine-tune epochs of a trial")
    startup_trials: Positive = Field(
        description="number of random trials; after them TPE chooses values, and trials are pruned"
    )
    space: dict[str, SpaceValues] = Field(description="dotted parameter name → what to try")


def extremes(values: Choices | Range) -> tuple[object, ...]:
    """Return all choices, or the two ends of a range.

    Every rule on a number is a bound. So a range is valid if both of its ends are valid.
    """
    return values.choices if isinstance(values, Choices) else (values.low, values.high)
