"""Section `train`: how the classifier is trained."""

from typing import Annotated, Literal

from pydantic import Field

from components.params.section import Count, Positive, Rate, Section, Share


class Augmentation(Section):
    """Random changes to training images; 0 turns a change off."""

    horizontal_flip: Share = Field(description="probability")
    vertical_flip: Share = Field(description="probability")
    rotate: Annotated[float, Field(ge=0, le=180)] = Field(
        description="most degrees, in both directions"
    )
    shift: Annotated[float, Field(ge=0, lt=1)] = Field(description="most, as a share of the side")
    scale: Annotated[float, Field(ge=0, lt=1)] = Field(description="0.1: a factor of 0.9 to 1.1")
    brightness: Annotated[float, Field(ge=0, lt=1)] = Field(description="as for scale")
    contrast: Annotated[float, Field(ge=0, lt=1)] = Field(description="as for scale")
    erase: Share = Field(description="probability of one erased rectangle")


class Head(Section):
    """First phase: the head alone, on a frozen backbone; skipped with `model.weights: none`."""

    epochs: Count
    learning_rate: Rate


class FineTune(Section):
    """Second phase: the head and the upper layers of the backbone."""

    epochs: Count
    learning_rate: Rate
    unfreeze: Share = Field(description="share of the backbone's layers, counted from the top")
    warmup: Share = Field(description="share of the steps in which the learning rate rises from 0")


class EarlyStopping(Section):
    """When to stop; the weights of the best epoch are kept in any case."""

    monitor: Literal["val_loss", "val_accuracy", "val_balanced_accuracy"]
    patience: Positive = Field(description="stop after so many epochs without improvement")


class Train(Section):
    """How the classifier is trained."""

    batch_size: Positive
    loss: Literal["cross_entropy", "focal", "logit_adjusted"]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    focal_gamma: Annotated[float, Field(ge=0, le=10)] = Field(description="for loss: focal")
    logit_adjustment: Annotated[float, Field(ge=0, le=10)] = Field(
        description="tau, for loss: logit_adjusted"
    )
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    head: Head
    finetune: FineTune
    early_stopping: EarlyStopping
    augmentation: Augmentation
