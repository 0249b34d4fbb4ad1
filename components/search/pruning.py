"""The values of a running trial, earlier trials → whether it should stop early.

A trial stops if its best value until now is worse than the median of the values that earlier trials
had at the same epoch, as with the median rule of Google Vizier (Golovin et al., 2017). Only the
trials are looked at that were finished when this one was chosen for any number of workers, see
`components.search.sampling.seen_trials`. So it does not depend on the number of workers.

The epochs of the phase `head` have numbers below 1, see `OnValue`. They decide nothing: the heads
of most trials are about equal, take little time, and say little about fine-tuning.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from components.search.sampling import seen_trials


@dataclass(frozen=True)
class MedianRule:
    """When a trial stops.

    after: no trial stops before it sees so many complete trials. direction: of the value.
    """

    after: int
    direction: Literal["maximize", "minimize"]

    def stops(self, number: int, curve: Mapping[int, float], rows: Sequence[Any]) -> bool:
        """Return whether a trial stops after the last epoch of its curve.

        number: of the trial. curve: epoch → value, until now. rows: trials of Optuna, in any order.
        """
        seen = seen_trials(number)
        complete = [
            row.intermediate_values
            for row in rows
            if row.number in seen and row.state.name == "COMPLETE"
        ]
        epoch = max(curve)
        others = [values[epoch] for values in complete if epoch in values]
        others = [value for value in others if math.isfinite(value)]
        own = [value for number, value in curve.items() if number >= 1 and math.isfinite(value)]
        if epoch < 1 or len(complete) < self.after or not others or not own:
            return False
        if self.direction == "maximize":
            return bool(max(own) < median(others))
        return bool(min(own) > median(others))
