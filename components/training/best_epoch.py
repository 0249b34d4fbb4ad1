"""Epochs as they are measured → the weights of the best one, and when to stop."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.params.train import EarlyStopping

Row = dict[str, Any]


@dataclass
class BestEpoch:
    """The best epoch so far, over all phases.

    model: the keras.Model whose weights are kept. row: what was measured in that epoch.
    """

    model: Any
    rule: EarlyStopping
    value: float = -np.inf
    row: Row = field(default_factory=dict)
    weights: list[NDArray[Any]] = field(default_factory=list)
    waited: int = 0

    def new_phase(self) -> None:
        """Begin to wait anew; what was best before stays to be beaten."""
        self.waited = 0

    def update(self, row: Row) -> bool:
        """Take the epoch into account; return whether to stop."""
        value = row[self.rule.monitor]
        value = -value if self.rule.monitor == "val_loss" else value
        if value > self.value:
            self.value, self.row, self.waited = value, row, 0
            self.weights = self.model.get_weights()
        else:
            self.waited += 1
        return self.waited >= self.rule.patience

    def restore(self) -> None:
        """Give the network the weights of the best epoch."""
        if self.weights:
            self.model.set_weights(self.weights)
