"""Section `split`: the shares of the images in the splits val and test."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from components.params.section import Section, Seed, require

# The order is important. If images in different splits are copies of each other, only the image in
# the split that comes first in this list is used.
SPLITS = ("train", "val", "test")


def _check_not_one(folds: int) -> int:
    if folds == 1:
        raise ValueError("folds must be 0 (no folds), or 2 or more")
    return folds


Folds = Annotated[int, Field(ge=0, le=100), AfterValidator(_check_not_one)]


class Split(Section):
    """The shares of the images in the splits val and test. All other images are in train."""

    seed: Seed = Field(description="seed of the hash that decides the split of each image")
    val: Annotated[float, Field(gt=0, lt=1)]
    test: Annotated[float, Field(gt=0, lt=1)]
    given: Literal["ignore", "stop", "set_aside"] = Field(
        description="what to do if the data set comes with its own splits train, val and test. "
        "ignore: make new splits; stop: use its splits, but end the run if two of its splits "
        "contain copies of the same image; set_aside: use its splits, but do not use an image of "
        "val or test if an earlier split contains a copy of it"
    )
    folds: Folds = Field(
        description="number of folds (parts for cross-validation) of the images in train and val; "
        "0: no folds"
    )

    @model_validator(mode="after")
    def _check_room_for_train(self) -> "Split":
        rule = "val + test must be below 1, so that images are left for train"
        return require(self, self.val + self.test < 1, rule)
