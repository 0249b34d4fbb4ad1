"""The params of the user → the methods against unequal classes that `fovea balance` compares.

Each method is one switch in params.yaml. All other params stay as they are, but the switches of the
other methods are off.
"""

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

    @property
    def command(self) -> str:
        """Return the command that trains with this method."""
        return f"dvc exp run -S {self.key}={self.value}"


TUNED_KEY, TUNED_NAME = "model.logit_adjustment", "tuned_logit_adjustment"
NONE = Method("balance.strategy", "none")
# `augment_minority` is missing: it differs from `oversample` only in the phase `finetune`.
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
