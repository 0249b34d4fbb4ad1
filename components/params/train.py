"""Section `train`: how the classifier is trained."""

from typing import Annotated, Literal

from pydantic import Field

from components.params.section import Count, Positive, Rate, Section, Share


class Augmentation(Section):
    """Random changes to training images; 0 turns one off."""

    horizontal_flip: Share = Field(description="probability")
    vertical_flip: Share = Field(description="probability")
    rotate: Annotated[float, Field(ge=0, le=180)] = Field(description="degrees to either side")
    shift: Annotated[float, Field(ge=0, lt=1)] = Field(description="share of the side")
    scale: Annotated[float, Field(ge=0, lt=1)] = Field(description="share to either side of 1")
    brightness: Annotated[float, Field(ge=0, lt=1)] = Field(description="share to either side of 1")
    contrast: Annotated[float, Field(ge=0, lt=1)] = Field(description="share to either side of 1")
    erase: Share = Field(description="probability of one erased rectangle")


class Head(Section):
    """First phase: the head alone, on features of the frozen backbone; skipped without weights."""

    epochs: Count
    learning_rate: Rate


class FineTune(Section):
    """Second phase: the upper share of the backbone together with the head."""

    epochs: Count
    learning_rate: Rate
    unfreeze: Share = Field(description="share of backbone layers, counted from the top")
    warmup: Share = Field(description="share of the steps in which the rate rises from 0")


class EarlyStopping(Section):
    """When to stop; the best epoch is always the one kept."""

    monitor: Literal["val_loss", "val_accuracy", "val_balanced_accuracy"]
    patience: Positive = Field(description="epochs without improvement after which to stop")


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
