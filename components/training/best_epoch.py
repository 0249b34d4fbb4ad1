"""The metrics of each epoch → the weights of the best epoch, and when a phase must stop."""

from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.params.train import EarlyStopping

Row = dict[str, Any]  # the metrics of an epoch, by name
Weights = list[NDArray[Any]]  # of a network, as `get_weights` returns them


@dataclass
class BestEpoch:
    """The best epoch until now, in all phases.

    How good an epoch is: the mean of the metric over the last `rule.smoothing` epochs of its phase,
    or over all of them at the start of the phase. On a val split of 60 images the metric of one
    epoch is mostly luck, and the best of 60 epochs the luckiest. A mean over epochs is less so.

    model: the keras.Model of the whole classifier.
    rule: the section `train.early_stopping` of params.yaml. `rule.monitor` is the name of the
        metric that decides which epoch is best. `rule.patience` is the number of epochs without
        improvement after which a phase stops. `rule.smoothing` is the number of epochs of a mean.
    value: how good the best epoch is. If the metric is val_loss, this is the negative loss, so that
        a higher value is always better.
    row: all metrics of the best epoch.
    weights: the weights of the model after the best epoch.
    waited: the number of epochs since the best epoch of the current phase. Epochs of the phase
        `head` do not count: the phase `finetune` often begins worse than `head` ended, and needs
        some epochs to become better.
    phase_value: how good the best epoch of the current phase is.
    recent: the metric in the last `rule.smoothing` epochs of the current phase.
    """

    model: Any
    rule: EarlyStopping
    value: float = -np.inf
    row: Row = field(default_factory=dict)
    weights: Weights = field(default_factory=list)
    waited: int = 0
    phase_value: float = -np.inf
    recent: list[float] = field(default_factory=list)

    def new_phase(self) -> None:
        """Begin to wait and to average again. The best epoch can stay one of an earlier phase."""
        self.waited, self.phase_value, self.recent = 0, -np.inf, []

    def update(self, row: Row) -> bool:
        """Record an epoch. Return True if the phase must stop.

        row: the metrics of the epoch that has just ended. If this epoch is better than the best
        epoch until now, its metrics and weights are kept. The phase must stop after
        `rule.patience` consecutive epochs that do not improve on those of the phase.
        """
        self.recent = [*self.recent, self.metric(row)][-self.rule.smoothing :]
        value = fmean(self.recent)
        if value > self.value:
            self.value, self.row = value, row
            self.weights = self.model.get_weights()
        self.waited = 0 if value > self.phase_value else self.waited + 1
        self.phase_value = max(value, self.phase_value)
        return self.waited >= self.rule.patience

    def metric(self, row: Row) -> float:
        """Return the metric of a row, so that a higher value is better."""
        value = float(row[self.rule.monitor])
        return -value if self.rule.monitor == "val_loss" else value

    def restore(self) -> None:
        """Set the weights of the model to the weights of the best epoch, if there is one."""
        if self.weights:
            self.model.set_weights(self.weights)
