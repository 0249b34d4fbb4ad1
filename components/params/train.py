"""Section `train`: how the classifier is trained."""

from typing import Annotated, Literal

from pydantic import Field

from components.params.section import Count, Positive, Rate, Section, Share


class Augmentation(Section):
    """Random changes to training images; 0 turns a change off."""

    horizontal_flip: Share = Field(description="probability")
    vertical_flip: Share = Field(description="probability")
    rotate: Annotated[float, Field(ge=0, le=180)] = Field(
        description="maximum angle in degrees, to the left and to the right"
    )
    shift: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="maximum, as a share of the side"
    )
    scale: Annotated[float, Field(ge=0, lt=1)] = Field(description="0.1: a factor of 0.9 to 1.1")
    brightness: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="0.1: a factor of 0.9 to 1.1"
    )
    contrast: Annotated[float, Field(ge=0, lt=1)] = Field(description="0.1: a factor of 0.9 to 1.1")
    erase: Share = Field(description="probability of one erased rectangle")


class Head(Section):
    """First phase: only the head is trained. `model.weights: none` skips this phase."""

    epochs: Count
    learning_rate: Rate


class FineTune(Section):
    """Second phase: the head and the upper layers of the backbone are trained."""

    epochs: Count
    learning_rate: Rate
    unfreeze: Share = Field(description="share of the layers to train, from the top")
    warmup: Share = Field(description="share of the steps in which the learning rate rises from 0")


class EarlyStopping(Section):
    """When a phase stops. The result always has the weights of the best epoch."""

    monitor: Literal["val_loss", "val_accuracy", "val_balanced_accuracy"]
    patience: Positive = Field(description="stop after this many epochs without improvement")


class Train(Section):
    """How the classifier is trained."""

    batch_size: Positive
    loss: Literal["cross_entropy", "focal", "logit_adjusted"]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    focal_gamma: Annotated[float, Field(ge=0, le=10)] = Field(description="gamma, for loss: focal")
    logit_adjustment: Annotated[float, Field(ge=0, le=10)] = Field(
        description="tau, for loss: logit_adjusted"
    )
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    head: Head
    finetune: FineTune
    early_stopping: EarlyStopping
    augmentation: Augmentation
