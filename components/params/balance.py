"""Section `balance`: how training treats classes with unequal numbers of images."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from components.params.section import Section

Cost = Annotated[float, Field(ge=0, le=1_000_000)]

Strategy = Literal[
    "none",
    "inverse_weights",
    "square_root_weights",
    "effective_number_weights",
    "oversample",
    "square_root_sampling",
    "undersample",
    "augment_minority",
    "smote",
]


def _refuse_old_name(strategy: object) -> object:
    if strategy == "class_weight":
        raise ValueError("be inverse_weights, which is the new name of class_weight")
    return strategy


class Balance(Section):
    """How classes with unequal numbers of images are treated, in the split train only.

    strategy: `none`: all images are drawn once per epoch, and have the same weight.

    Three strategies multiply the loss of an image by a weight, which is higher for small classes.
    `inverse_weights`: proportional to 1 / images of the class. `square_root_weights`: proportional
    to the square root of this. `effective_number_weights`: proportional to 1 / effective number of
    images of the class (Cui et al., 2019).

    The other strategies change how often an image is drawn per epoch. `oversample`: every class is
    drawn as often as the largest class. `undersample`: as often as the smallest class.
    `square_root_sampling`: proportional to the square root of the number of its images.
    `augment_minority`: as `oversample`, and a copy is changed more strongly: if an image is drawn
    again in an epoch, it goes through the random changes of `train.augmentation` twice. `smote`: as
    `oversample`, but in the phase `head` new features are computed between the features of similar
    images of the class (Chawla et al., 2002), instead of drawing an image again.
    """

    strategy: Annotated[Strategy, BeforeValidator(_refuse_old_name)]
    effective_number_beta: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="beta of `effective_number_weights` and of the loss `class_balanced_focal`: 0 "
        "gives equal weights; the nearer to 1, the nearer to `inverse_weights`"
    )
    costs: dict[str, dict[str, Cost]] = Field(
        description="true class → predicted class → what this confusion costs, such as {glass: "
        "{metal: 5}}; a pair that is not written costs 1. If it is not empty, the stage "
        "`evaluate` measures the expected cost, and `train.loss: cost_sensitive` lowers it"
    )
