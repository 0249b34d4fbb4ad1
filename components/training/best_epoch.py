"""The metrics of each epoch → the weights of the best epoch, and the decision when to stop."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.params.train import EarlyStopping

Row = dict[str, Any]


@dataclass
class BestEpoch:
    """The best epoch so far, of all phases.

    model: the keras.Model that is trained. value: the monitored metric of the best epoch, or minus
    this metric for val_loss. row: all metrics of the best epoch. weights: its weights.
    waited: the number of epochs of the current phase since the best epoch.
    """

    model: Any
    rule: EarlyStopping
    value: float = -np.inf
    row: Row = field(default_factory=dict)
    weights: list[NDArray[Any]] = field(default_factory=list)
    waited: int = 0

    def new_phase(self) -> None:
        """Set `waited` to 0. The best epoch of the earlier phases stays the best so far."""
        self.waited = 0

    def update(self, row: Row) -> bool:
        """Keep the weights if this epoch is the best so far. Return True if the phase must stop.

        row: the metrics of the epoch that has just ended.
        """
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
