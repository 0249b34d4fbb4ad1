"""The metrics of each epoch → the weights of the best epoch, and when a phase must stop."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.params.train import EarlyStopping

Row = dict[str, Any]  # the metrics of an epoch, by name


@dataclass
class BestEpoch:
    """The best epoch until now, in all phases.

    model: the keras.Model of the whole classifier.
    rule: the section `train.early_stopping` of params.yaml. `rule.monitor` is the name of the
        metric that decides which epoch is best. `rule.patience` is the number of epochs without
        improvement after which a phase stops.
    value: the value of the metric in the best epoch. If the metric is val_loss, this is the
        negative loss, so that a higher value is always better.
    row: all metrics of the best epoch.
    weights: the weights of the model after the best epoch.
    waited: the number of epochs in the current phase since the last improvement.
    """

    model: Any
    rule: EarlyStopping
    value: float = -np.inf
    row: Row = field(default_factory=dict)
    weights: list[NDArray[Any]] = field(default_factory=list)
    waited: int = 0

    def new_phase(self) -> None:
        """Set `waited` to 0. The best epoch stays the same, even if it is of an earlier phase."""
        self.waited = 0

    def update(self, row: Row) -> bool:
        """Record an epoch. Return True if the phase must stop.

        row: the metrics of the epoch that has just ended. If this epoch is better than the best
        epoch until now, its metrics and weights are kept. The phase must stop after
        `rule.patience` consecutive epochs without improvement.
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
        """Set the weights of the model to the weights of the best epoch, if there is one."""
        if self.weights:
            self.model.set_weights(self.weights)
