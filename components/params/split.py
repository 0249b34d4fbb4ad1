"""Section `split`: the shares of the images in the splits val and test."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from components.params.section import Section, require

# The order is important. If two splits contain copies of an image, only the copy in the split that
# comes first in this list is used.
SPLITS = ("train", "val", "test")


def _check_not_one(folds: int) -> int:
    if folds == 1:
        raise ValueError("folds must be 0 (no folds), or 2 or more")
    return folds


Folds = Annotated[int, Field(ge=0, le=100), AfterValidator(_check_not_one)]


class Split(Section):
    """The shares of the images in the splits val and test. All other images are in train."""

    val: Annotated[float, Field(gt=0, lt=1)]
    test: Annotated[float, Field(gt=0, lt=1)]
    given: Literal["ignore", "stop", "set_aside"] = Field(
        description="what to do if the data set already says which images are in train, val and "
        "test. ignore: do not use this; stop: use it, but end the run if two of the three contain "
        "copies of the same image; set_aside: use it, and leave such copies out of val and test"
    )
    folds: Folds = Field(description="number of folds of the images in train and val; 0: no folds")

    @model_validator(mode="after")
    def _check_room_for_train(self) -> "Split":
        rule = "val + test must leave room for train"
        return require(self, self.val + self.test < 1, rule)
