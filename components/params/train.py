"""Section `train`: how the classifier is trained."""

from typing import Annotated, Literal

from pydantic import Field

from components.params.section import Count, Positive, Rate, Section, Seed, Share


class Augmentation(Section):
    """Random changes of training images. The value 0 switches a change off."""

    horizontal_flip: Share = Field(description="probability that left and right are exchanged")
    vertical_flip: Share = Field(description="probability that top and bottom are exchanged")
    rotate: Annotated[float, Field(ge=0, le=180)] = Field(
        description="maximum angle of the rotation to the left or to the right, in degrees"
    )
    shift: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="maximum distance of the shift, as a share of the side"
    )
    scale: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="maximum change of the size; with 0.1 the factor is between 0.9 and 1.1"
    )
    brightness: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="maximum change of the brightness; with 0.1 the factor is between 0.9 and 1.1"
    )
    contrast: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="maximum change of the contrast; with 0.1 the factor is between 0.9 and 1.1"
    )
    erase: Share = Field(description="probability that one rectangle is erased")


class Head(Section):
    """The first phase: only the head, the last layer of the network, is trained.

    If `model.weights` is `none`, the backbone has random weights, so the phase is skipped.
    """

    epochs: Count
    learning_rate: Rate
    views: Annotated[int, Field(ge=0, le=32)] = Field(
        description="number of randomly changed copies of each training image whose features are "
        "computed, stored and drawn from, beside those of the image as it is"
    )


class FineTune(Section):
    """The second phase: the head and the last layers of the backbone are trained."""

    epochs: Count
    learning_rate: Rate
    unfreeze: Share = Field(
        description="share of the layers of the backbone that are trained; the layers nearest to "
        "the output are chosen"
    )
    warmup: Share = Field(description="share of the steps in which the learning rate rises from 0")


class EarlyStopping(Section):
    """When a phase stops early. The trained classifier has the weights of the best epoch."""

    monitor: Literal["val_loss", "val_accuracy", "val_balanced_accuracy"]
    patience: Positive = Field(
        description="number of epochs without improvement after which the phase stops"
    )


class Train(Section):
    """How the classifier is trained.

    loss: the loss function. `cross_entropy`: the usual loss. `focal`: gives less weight to images
    that the network already classifies well. `class_balanced_focal`: the focal loss, multiplied by
    the weight that `balance.strategy: effective_number_weights` would give (Cui et al., 2019).
    `logit_adjusted`: gives more weight to rare classes.
    """

    seed: Seed = Field(
        description="seed of all random numbers of the stages search and train: the first weights, "
        "the order of the images, their random changes, and the values that a search tries"
    )
    threads: Annotated[int, Field(ge=1, le=256)] = Field(
        description="number of processor threads of the network in the stages search and train; "
        "on a CPU it decides the last bits of the weights, so it is not taken from the machine"
    )
    precision: Literal["float32", "mixed"] = Field(
        description="with `mixed`, the network computes in bfloat16 while it is trained; weights "
        "and saved model are float32 in both cases"
    )
    batch_size: Positive
    accumulate: Positive = Field(
        description="number of batches whose mean gradient makes one update of the weights; an "
        "update sees batch_size * accumulate images"
    )
    loss: Literal["cross_entropy", "focal", "class_balanced_focal", "logit_adjusted"]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    focal_gamma: Annotated[float, Field(ge=0, le=10)] = Field(
        description="gamma, the exponent of the losses `focal` and `class_balanced_focal`"
    )
    logit_adjustment: Annotated[float, Field(ge=0, le=10)] = Field(
        description="tau, the strength of the adjustment of the loss `logit_adjusted`"
    )
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    head: Head
    finetune: FineTune
    early_stopping: EarlyStopping
    augmentation: Augmentation
