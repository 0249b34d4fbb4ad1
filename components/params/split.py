"""Section `split`: the shares of images that are held out for val and test."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from components.params.section import Section, require

# The order matters: if two splits have copies of an image, the copy in the earlier split stays.
SPLITS = ("train", "val", "test")


def _check_not_one(folds: int) -> int:
    if folds == 1:
        raise ValueError("folds must be 0 (no folds), or 2 or more")
    return folds


Folds = Annotated[int, Field(ge=0, le=100), AfterValidator(_check_not_one)]


class Split(Section):
    """The shares of images that are held out for val and test; the rest is train."""

    val: Annotated[float, Field(gt=0, lt=1)]
    test: Annotated[float, Field(gt=0, lt=1)]
    given: Literal["ignore", "stop", "set_aside"] = Field(
        description="for images that come with a split. ignore: do not use it; stop: use it, but "
        "end the run if it leaks; set_aside: use it, but set aside the images that leak"
    )
    folds: Folds = Field(description="number of folds of the images in train and val; 0: no folds")

    @model_validator(mode="after")
    def _check_room_for_train(self) -> "Split":
        rule = "val + test must leave room for train"
        return require(self, self.val + self.test < 1, rule)
