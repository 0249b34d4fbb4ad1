"""What tau and temperature changed on val ⇄ calibration.json, metrics of MLflow, a line of text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.calibration.adjustment import Adjustment
from components.calibration.scores import Calibration


@dataclass(frozen=True)
class Effect:
    """A fitted temperature, and how honest the probabilities of val are without it and with it.

    temperature: the number by which the logits are divided. val_images: the number of val images on
    which it was fitted. before, after: how honest the probabilities of these images are without and
    with the temperature. notes: sentences about cases in which val does not determine the
    temperature; usually none. adjustment: the logit adjustment, which comes before the temperature;
    None if `model.logit_adjustment` is `none`. `before` is without both.
    """

    temperature: float
    val_images: int
    before: Calibration
    after: Calibration
    notes: tuple[str, ...]
    adjustment: Adjustment | None = None

    def to_tree(self) -> dict[str, Any]:
        """Return nested values for calibration.json. `dvc metrics` does not show the lists."""
        tree = {
            "temperature": self.temperature,
            "val_images": self.val_images,
            "before": self.before.to_tree(),
            "after": self.after.to_tree(),
            "notes": list(self.notes),
        }
        return tree | ({"logit_adjustment": self.adjustment.to_tree()} if self.adjustment else {})

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> "Effect":
        """Return the value from which `to_tree` made `tree`, with rounded numbers."""
        return cls(
            tree["temperature"],
            tree["val_images"],
            Calibration.from_tree(tree["before"]),
            Calibration.from_tree(tree["after"]),
            tuple(tree["notes"]),
            Adjustment.from_tree(tree["logit_adjustment"]) if "logit_adjustment" in tree else None,
        )

    def to_flat(self) -> dict[str, float]:
        """Return name → value for MLflow, such as `val_ece_before` and `val_ece_after`."""
        values = {"temperature": self.temperature}
        values |= self.adjustment.to_flat() if self.adjustment else {}
        for when, measured in {"before": self.before, "after": self.after}.items():
            values |= {f"val_{name}_{when}": value for name, value in measured.scores.items()}
        return values

    def in_words(self) -> str:
        """Return the logit adjustment, the temperature and their effect in one line."""
        words = (
            f"temperature {self.temperature:.3g}, fitted on {self.val_images} val images: "
            f"ECE {self.before.ece:.3f} → {self.after.ece:.3f}, "
            f"NLL {self.before.nll:.3f} → {self.after.nll:.3f}"
        )
        adjusted = [self.adjustment.in_words()] if self.adjustment else []
        return "; ".join([*adjusted, words, *self.notes])
