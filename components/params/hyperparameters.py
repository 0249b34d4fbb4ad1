"""The sections `model` and `train` of params.yaml, whose values a search may change."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError, model_validator

from components.errors import UserError
from components.params.blocks import BLOCKS
from components.params.model import Model
from components.params.section import Section, require
from components.params.sentences import broken_rules, in_yaml, known_keys, nearest
from components.params.train import LastBlocks, Train
from components.words import count_text

# For each rule about several hyperparameters: those of them that a search may choose.
RULED_TOGETHER = (
    ("model.weights", "train.head.epochs", "train.finetune.epochs"),
    (
        "train.finetune.epochs",
        "train.batch_size",
        "train.mixup",
        "train.cutmix",
        "train.mix_until",
    ),
    ("train.finetune.epochs", "train.average.soup"),
    ("train.average.ema", "train.average.soup"),
    ("train.finetune.unfreeze", "train.finetune.layer_decay"),
    ("train.head.epochs", "train.head.views"),
    (
        "model.backbone",
        "train.finetune.stages",
        "train.finetune.unfreeze",
        "train.finetune.unfreeze.last_blocks",
    ),
)
# A search may choose among named policies, also if params.yaml has the ranges of the changes.
WHOLE = ("train.augmentation",)


class Hyperparameters(Section):
    """The sections `model` and `train` of params.yaml as one object."""

    model: Model
    train: Train

    @model_validator(mode="after")
    def _check_something_trains(self) -> "Hyperparameters":
        head = self.train.head.epochs and self.model.pretrained
        rule = "nothing would be trained: raise train.finetune.epochs. Received: 0"
        return require(self, bool(self.train.finetune.epochs or head), rule)

    @model_validator(mode="after")
    def _check_mixing(self) -> "Hyperparameters":
        train = self.train
        rule = (
            "train.mixup and train.cutmix mix images in the phase `finetune` only, which has no "
            "epochs; set both to 0.0, or raise train.finetune.epochs. "
            f"Received: mixup {train.mixup}, cutmix {train.cutmix}"
        )
        mixes = train.mixup or train.cutmix
        require(self, bool(train.finetune.epochs or not mixes), rule)
        rule = (
            "train.mix_until: images would be mixed in no epoch; write a higher share, such as "
            "0.8, or set train.mixup and train.cutmix to 0.0. "
            f"Received: {train.mix_until} of {count_text(train.finetune.epochs, 'epoch')}"
        )
        require(self, bool(train.mixed_epochs or not mixes), rule)
        rule = (
            "train.batch_size: train.mixup and train.cutmix mix the images of a batch, which has "
            "only one; raise train.batch_size, or set both to 0.0. "
            f"Received: batch_size 1, mixup {train.mixup}, cutmix {train.cutmix}"
        )
        return require(self, train.batch_size > 1 or not mixes, rule)

    @model_validator(mode="after")
    def _check_batch_norm(self) -> "Hyperparameters":
        model = self.model
        rule = (
            "model.batch_norm normalises the hidden layers, of which there are none; write "
            "`batch_norm: false`, or units into model.hidden, such as [256]. "
            "Received: batch_norm: true, hidden: []"
        )
        return require(self, bool(model.hidden or not model.batch_norm), rule)

    @model_validator(mode="after")
    def _check_soup(self) -> "Hyperparameters":
        train = self.train
        rule = (
            "train.average.soup averages epochs of the phase `finetune`, which has no epochs; "
            "write `soup: 0`, or raise train.finetune.epochs. "
            f"Received: soup: {train.average.soup}"
        )
        return require(self, bool(train.finetune.epochs or not train.average.soup), rule)

    @model_validator(mode="after")
    def _check_views(self) -> "Hyperparameters":
        head = self.train.head
        rule = (
            "train.head.views are images for the phase `head`, which has no epochs; write "
            f"`views: 0`, or raise train.head.epochs. Received: views: {head.views}"
        )
        return require(self, bool(head.epochs or not head.views), rule)

    @model_validator(mode="after")
    def _check_layer_decay(self) -> "Hyperparameters":
        finetune = self.train.finetune
        rule = (
            "train.finetune.layer_decay: with `unfreeze: none`, no block is trained; write "
            f"`layer_decay: 1.0`, or another `unfreeze`. Received: {finetune.layer_decay}"
        )
        return require(self, finetune.layer_decay == 1 or finetune.unfreeze != "none", rule)

    @model_validator(mode="after")
    def _check_stages(self) -> "Hyperparameters":
        stages, unfreeze = self.train.finetune.stages, self.train.finetune.unfreeze
        rule = (
            "train.finetune.stages: with `unfreeze: none`, no block is trained in any stage; write "
            f"`stages: 1`, or another `unfreeze`. Received: {stages}"
        )
        require(self, stages == 1 or unfreeze != "none", rule)
        most = BLOCKS.get(self.model.backbone, stages)
        if isinstance(unfreeze, LastBlocks):
            most = unfreeze.last_blocks
        rule = (
            "train.finetune.stages: each stage must train one block more, and `unfreeze` names "
            f"{most}; write at most `stages: {most}`. Received: {stages}"
        )
        return require(self, stages <= most, rule)

    @model_validator(mode="after")
    def _check_blocks(self) -> "Hyperparameters":
        unfreeze, most = self.train.finetune.unfreeze, BLOCKS.get(self.model.backbone)
        wanted = unfreeze.last_blocks if isinstance(unfreeze, LastBlocks) else 0
        rule = (
            f"train.finetune.unfreeze: {self.model.backbone} has {most} blocks; write "
            f"`unfreeze: all`, or at most {most}. Received: last_blocks: {wanted}"
        )
        return require(self, most is None or wanted <= most, rule)

    @model_validator(mode="after")
    def _check_adjusted_once(self) -> "Hyperparameters":
        twice = self.model.logit_adjustment == "tuned" and self.train.loss == "logit_adjusted"
        rule = (
            "the loss logit_adjusted adjusts the logits while training, and model.logit_adjustment "
            "would adjust them once more: write `logit_adjustment: none`, or another train.loss. "
            "Received: model.logit_adjustment: tuned, train.loss: logit_adjusted"
        )
        require(self, not twice, rule)
        against = self.model.logit_adjustment == "tuned" and self.train.loss == "cost_sensitive"
        rule = (
            "the loss cost_sensitive moves the predictions towards what costs less, and "
            "model.logit_adjustment would move them back, because it knows no costs: write "
            "`logit_adjustment: none`, or another train.loss. "
            "Received: model.logit_adjustment: tuned, train.loss: cost_sensitive"
        )
        return require(self, not against, rule)

    def with_overrides(self, overrides: Mapping[str, object]) -> "Hyperparameters":
        """Return a copy of the hyperparameters in which some values are replaced.

        overrides: a dict from dotted names to new values, such as {"train.head.epochs": 3}.
        Raises UserError if a name is unknown or is the name of a section, or if a new value breaks
        a rule.
        """
        tree = self.model_dump()
        for name, value in overrides.items():
            self._section_of(name, tree)[name.rpartition(".")[2]] = value
        try:
            return Hyperparameters.model_validate(tree)
        except ValidationError as error:
            raise UserError("; ".join(broken_rules(error, tree, Hyperparameters))) from None

    def check_name(self, name: str) -> None:
        """Raise UserError if a dotted name is unknown or is the name of a section."""
        self._section_of(name, self.model_dump())

    def _section_of(self, name: str, tree: dict[str, Any]) -> dict[str, Any]:
        """Return the section of a tree of hyperparameters that has the dotted name `name`."""
        *path, key = name.split(".")
        node: Any = tree
        for part in path:
            node = node.get(part) if isinstance(node, dict) else None
        # Three cases are refused: the section is unknown, the key is unknown, or the key is the
        # name of a section. The value of a section is a dict. For an unknown key, `get` also
        # returns a dict, which is empty.
        section = isinstance(node, dict) and isinstance(node.get(key, {}), dict)
        if not isinstance(node, dict) or (section and name not in WHOLE):
            raise UserError(self._cannot_be_searched(name))
        return node

    def _cannot_be_searched(self, name: str) -> str:
        """Return why there is no value to replace that has the dotted name `name`."""
        for form, key in (
            (self.train.finetune.unfreeze, "train.finetune.unfreeze"),
            (self.train.augmentation, "train.augmentation"),
        ):
            path = name.removeprefix(key).strip(".").split(".")[0]
            keys = ["", *known_keys(Hyperparameters, key.split("."))]
            if name.startswith(key) and path in keys:
                return (
                    f"{key} has another form in params.yaml, which has no such value; write it "
                    f"there in the form that is searched. Received: {name}, "
                    f"{key}: {in_yaml(form.model_dump() if isinstance(form, Section) else form)}"
                )
        names = list(_names(self.model_dump()))
        near = nearest(name, names, "choose one of them, such as train.head.epochs")
        return f"only values of model and train can be searched; {near}. Received: {name}"

    def value(self, name: str) -> Any:
        """Return the value that has the dotted name `name`, such as train.head.epochs."""
        node: Any = self
        for part in name.split("."):
            node = getattr(node, part)
        return node


def _names(tree: Any, above: str = "") -> Iterator[str]:
    """Yield the dotted names of all values in a tree."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _names(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"
