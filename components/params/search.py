"""Section `search`: the Optuna study that looks for hyperparameters."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from components.params.section import Count, Positive, Section, require


class Choices(Section):
    """A finite set to choose from."""

    choices: tuple[str | int | float | bool, ...] = Field(min_length=1)


class Range(Section):
    """Every number from low to high, evenly or evenly in the logarithm."""

    low: int | float
    high: int | float
    log: bool = Field(description="sample evenly in the logarithm")

    @model_validator(mode="after")
    def _possible(self) -> "Range":
        require(self, self.low < self.high, "low must be below high")
        return require(self, not self.log or self.low > 0, "a log range must start above 0")


def _kind(values: Any) -> str:
    """Tell by its keys which of the two is meant, so that an error speaks of that one alone."""
    given = values if isinstance(values, dict) else getattr(values, "__dict__", {})
    return "range" if "low" in given or "high" in given else "choices"


SpaceValues = Annotated[
    Annotated[Choices, Tag("choices")] | Annotated[Range, Tag("range")], Discriminator(_kind)
]


class Search(Section):
    """The Optuna study that looks for hyperparameters before training."""

    trials: Count = Field(description="0 leaves every value as written in this file")
    maximize: Literal["val_accuracy", "val_balanced_accuracy"]
    epochs: Positive = Field(description="at most so many fine-tune epochs in a trial")
    startup_trials: Positive = Field(description="random ones, before TPE guides and prunes")
    space: dict[str, SpaceValues] = Field(description="dotted parameter name → what to try")


def extremes(values: Choices | Range) -> tuple[object, ...]:
    """Values that stand for all: if these keep a parameter's rules, so does what lies between."""
    return values.choices if isinstance(values, Choices) else (values.low, values.high)
