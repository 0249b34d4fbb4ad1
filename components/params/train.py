"""Section `train`: how the classifier is trained."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from components.params.augmentation import AnyAugmentation
from components.params.section import Count, Positive, Rate, Section, Seed, Share, require

Schedule = Literal["cosine", "one_cycle", "step", "plateau"]


class Head(Section):
    """The first phase: only the head is trained.

    If `model.weights` is `none`, the backbone has random weights, so the phase is skipped.
    """

    epochs: Count
    learning_rate: Rate
    views: Annotated[int, Field(ge=0, le=32)] = Field(
        description="number of randomly changed copies of each training image whose features are "
        "computed, stored and drawn from, beside those of the image as it is"
    )


class LastBlocks(Section):
    """How many blocks of the backbone are trained, counted from the output."""

    last_blocks: Positive


def _form(value: Any) -> str:
    """Return the form of `unfreeze`, the tag of one of its types."""
    return "number" if isinstance(value, dict | LastBlocks) else "name"


Unfreeze = Annotated[
    Annotated[Literal["none", "all"], Tag("name")] | Annotated[LastBlocks, Tag("number")],
    Discriminator(_form),
]


class FineTune(Section):
    """The second phase: the head and the blocks that `unfreeze` names are trained."""

    epochs: Count
    learning_rate: Rate
    unfreeze: Unfreeze = Field(
        description="the blocks of the backbone that are trained: none, all, or {last_blocks: 3} "
        "for the three blocks nearest to the output"
    )
    stages: Positive = Field(
        description="number of equal parts of the phase; in each part more blocks are trained, "
        "from the output to the input, and in the last part all that `unfreeze` names"
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        description="factor by which the learning rate of a block is lower than that of the block "
        "after it"
    )
    schedule: Schedule = Field(description="how the learning rate changes in the phase")
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="share of the steps in which the learning rate rises; then it falls"
    )


class EarlyStopping(Section):
    """When a phase stops early. The trained classifier has the weights of the best epoch."""

    monitor: Literal["val_loss", "val_accuracy", "val_balanced_accuracy", "val_macro_f1"]
    patience: Positive = Field(
        description="number of epochs without improvement after which the phase stops"
    )
    smoothing: Annotated[int, Field(ge=1, le=100)] = Field(
        description="number of epochs; an epoch is as good as the mean of the metric in the last "
        "so many epochs of its phase; 1: no mean"
    )


class Average(Section):
    """Averages of weights, which are often better than the weights of one epoch. 0: no average."""

    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="decay of a moving average of the weights over the updates, such as 0.99"
    )
    soup: Annotated[int, Field(ge=0, le=20)] = Field(
        description="number of last epochs of the phase `finetune` whose weights may be averaged"
    )

    @model_validator(mode="after")
    def _check_one_average(self) -> "Average":
        rule = "choose one average: write `ema: 0.0` or `soup: 0`"
        return require(self, not (self.ema and self.soup), rule)


class Train(Section):
    """How the classifier is trained.

    loss: the loss function. `cross_entropy`: the usual loss. `focal`: gives less weight to images
    that the network already classifies well. `class_balanced_focal`: the focal loss, multiplied by
    the weight that `balance.strategy: effective_number_weights` would give (Cui et al., 2019).
    `logit_adjusted`: gives more weight to rare classes. `cost_sensitive`: adds the expected cost by
    `balance.costs` to the usual loss.
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
    loss: Literal[
        "cross_entropy", "focal", "class_balanced_focal", "logit_adjusted", "cost_sensitive"
    ]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    focal_gamma: Annotated[float, Field(ge=0, le=10)] = Field(
        description="gamma, the exponent of the losses `focal` and `class_balanced_focal`"
    )
    logit_adjustment: Annotated[float, Field(ge=0, le=10)] = Field(
        description="tau, the strength of the adjustment of the loss `logit_adjusted`"
    )
    cost_weight: Annotated[float, Field(ge=0, le=1000)] = Field(
        description="factor of the expected cost in the loss `cost_sensitive`; the higher, the "
        "more a confusion that costs much is avoided, at the price of accuracy"
    )
    optimizer: Literal["adamw", "sgd", "rmsprop", "lion"]
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="momentum of the optimizers `sgd` and `rmsprop`"
    )
    clip_norm: Annotated[float, Field(ge=0)] = Field(
        description="maximum norm of the gradient of all weights together; 0: no maximum"
    )
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    average: Average
    head: Head
    finetune: FineTune
    early_stopping: EarlyStopping
    augmentation: AnyAugmentation
    mixup: Annotated[float, Field(ge=0, le=10)] = Field(
        description="alpha of MixUp, which blends each training image with another one and shares "
        "their labels; 0: no MixUp"
    )
    cutmix: Annotated[float, Field(ge=0, le=10)] = Field(
        description="alpha of CutMix, which puts a part of another image into each training image "
        "and shares their labels; 0: no CutMix"
    )
    mix_until: Share = Field(
        description="share of the epochs of the phase `finetune` after which images are no longer "
        "mixed"
    )

    @property
    def mixed_epochs(self) -> int:
        """Return the number of epochs after which images are no longer mixed, if they are."""
        return round(self.mix_until * self.finetune.epochs)
