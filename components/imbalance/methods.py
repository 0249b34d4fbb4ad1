"""The params of the user → the methods against unequal classes that `fovea balance` compares.

Each method is one switch in params.yaml. All other params stay as they are, but the switches of the
other methods are off.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A method: the key of its switch in params.yaml, and the value that turns it on."""

    key: str
    value: str

    @property
    def name(self) -> str:
        """Return the name of the method, such as `smote`."""
        return TUNED_NAME if self.key == TUNED_KEY else self.value

    def command(self, present: Mapping[str, str]) -> str:
        """Return the command that trains with this method, and without all others.

        present: key → value of each switch of OFF in params.yaml.

        >>> Method("train.loss", "focal").command({"balance.strategy": "smote"})
        'dvc exp run -S train.loss=focal -S balance.strategy=none'
        """
        others = {key: off for key, off in OFF.items() if present.get(key, off) != off}
        changes = {self.key: self.value} | {k: v for k, v in others.items() if k != self.key}
        return "dvc exp run" + "".join(f" -S {key}={value}" for key, value in changes.items())


TUNED_KEY, TUNED_NAME = "model.logit_adjustment", "tuned_logit_adjustment"
# The switches of all methods → the values that turn them off.
OFF = {"balance.strategy": "none", "train.loss": "cross_entropy", TUNED_KEY: "none"}
NONE = Method("balance.strategy", "none")
# `augment_minority` is missing: it differs from `oversample` only in the phase `finetune`. The loss
# `cost_sensitive` is missing: it is about costs of confusions, not about rare classes.
METHODS = (
    NONE,
    *(
        Method("balance.strategy", strategy)
        for strategy in (
            *("inverse_weights", "square_root_weights", "effective_number_weights"),
            *("oversample", "square_root_sampling", "undersample", "smote"),
        )
    ),
    *(Method("train.loss", loss) for loss in ("focal", "class_balanced_focal", "logit_adjusted")),
    Method(TUNED_KEY, "tuned"),
)
