"""Section `split`: shares of images held out."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from components.params.section import Section, require

# In order of precedence: of two copies the one in the first of these splits stays.
SPLITS = ("train", "val", "test")


def _check_not_one(folds: int) -> int:
    if folds == 1:
        raise ValueError("one fold is no split; 0 asks for none, 2 and more for so many")
    return folds


Folds = Annotated[int, Field(ge=0, le=100), AfterValidator(_check_not_one)]


class Split(Section):
    """Shares of images held out; the rest trains."""

    val: Annotated[float, Field(gt=0, lt=1)]
    test: Annotated[float, Field(gt=0, lt=1)]
    given: Literal["ignore", "stop", "set_aside"] = Field(
        description="a split that comes with the images: ignored, or kept, and what a leak does"
    )
    folds: Folds = Field(description="0, or so many folds of the images outside of test")

    @model_validator(mode="after")
    def _room_for_train(self) -> "Split":
        rule = "val + test must leave room for train"
        return require(self, self.val + self.test < 1, rule)
