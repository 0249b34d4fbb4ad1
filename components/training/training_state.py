"""A training that runs ⇄ a checkpoint: what it needs to go on as if it had never stopped."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.training.best_epoch import BestEpoch, Row, Weights
from components.training.checkpoints import Checkpoint, Checkpoints, Variables
from components.training.machines import ALONE, Machines
from components.training.variables import assign, read_values

log = logging.getLogger(__name__)

OnEpoch = Callable[[Row], None]  # a function that takes the metrics of an epoch
# Epochs of a head take some hundredths of a second. A checkpoint after each would take longer.
INTERVAL_S = 1.0  # the minimum time between two checkpoints
RATE_CUTS = 2  # in a phase; after this many, a loss that is not finite ends the training


@dataclass
class TrainingState:
    """The state of a training, which changes with each epoch.

    Random numbers need no entry: batches are functions of the seed and of their number, and the
    seeds of dropout are variables of the network.

    model: the keras.Model of the whole classifier. best: the best epoch until now. checkpoints:
        where the state is written after each epoch; None in a trial of a search, which is not
        continued. on_epoch: is called after each epoch with the row of the epoch. machines: the
        machines that train together. The first of them reads and writes the checkpoints.
    history: the rows of all finished epochs. ingredients: the weights of the network after the last
        epochs, the newest last; for a soup, see soup.py. phase: the name of the phase. epoch: the
        number of finished epochs of the phase. ended: True if the phase is over. rate_cuts: how
        often the learning rate of the phase was divided by 10, because a loss was not finite.
    """

    model: Any
    best: BestEpoch
    checkpoints: Checkpoints | None
    on_epoch: OnEpoch
    machines: Machines = ALONE
    history: list[Row] = field(default_factory=list)
    ingredients: list[Weights] = field(default_factory=list)
    phase: str = ""
    epoch: int = 0
    ended: bool = False
    rate_cuts: int = 0
    _written_s: float = -math.inf  # when the last checkpoint was written, see time.monotonic
    _last: Checkpoint | None = None  # the state after the last good epoch
    _phase_variables: Sequence[Any] = ()  # of the optimizer, and what else the phase changes

    def resume(self, until: int | None = None) -> None:
        """Take over the newest checkpoint, if there is one and it is not after epoch `until`.

        A training that has gone further begins anew: its best epoch may be after `until`. All
        epochs of the checkpoint are reported to `on_epoch`, as if they had just ended.
        until: the last epoch of the phase `finetune`; None: all epochs.
        Raises UserError if the folder of the checkpoints cannot be written.
        """
        checkpoints = self.checkpoints
        if checkpoints is None:
            return
        variables = _variables(self.model)
        last = self.machines.from_first(lambda: checkpoints.newest(variables))
        if last is None:
            return
        trained = last.facts["epoch"] if last.facts["phase"] == "finetune" else 0
        if until is not None and trained > until:
            log.info(f"training begins anew, because its checkpoint is after epoch {until}")
            return
        self._last = last
        self._restore(self._last)
        log.info(
            "an unfinished training goes on after epoch "
            f"{self.epoch} of the phase `{self.phase}`, with its last checkpoint"
        )
        if self.ended:
            self.best.restore()
        for row in self.history:
            self.on_epoch(row)

    def finished_phases(self) -> frozenset[str]:
        """Return the names of the phases that are over."""
        begun = {row["phase"] for row in self.history}
        return frozenset(begun if self.ended else begun - {self.phase})

    def begin(self, phase: str) -> None:
        """Begin a phase. If a checkpoint of this phase was taken over, nothing changes."""
        if self.phase == phase:
            return
        self.phase, self.epoch, self.ended, self.rate_cuts = phase, 0, False, 0
        self.best.new_phase()
        self._last = None

    def continue_with(self, variables: Sequence[Any]) -> None:
        """Set the variables that belong to the phase to their values after the last good epoch.

        variables: the Keras variables of the optimizer, and others that the phase registers, with
        the values that they have at the start of the phase. From now on, checkpoints contain them.
        """
        self._phase_variables = variables
        if self._last is not None:
            assign(variables, self._last.arrays["phase"])
        elif self.checkpoints is not None:
            self._last = self._checkpoint()  # The first epoch can fail, too.

    def keep_ingredient(self, most: int) -> None:
        """Keep the present weights for a soup of at most so many epochs; 0: for none."""
        if most:
            self.ingredients = [*self.ingredients, self.model.get_weights()][-most:]

    def end_epoch(
        self, row: Row, ended: bool, speed: Mapping[str, float], pause: bool = False
    ) -> None:
        """Add an epoch to the history, write a checkpoint, and report the epoch.

        No checkpoint is written if the last one is younger than INTERVAL_S and the phase goes on.
        ended: True if the phase is over with this epoch. speed: what `on_epoch` gets, too, but
        not the history, which must not depend on the machine. pause: True if no other epoch
        follows now; the phase may go on later.
        Raises UserError if the checkpoint cannot be written.
        """
        self.history.append(row)
        self.epoch, self.ended = row["epoch"], ended
        if self.checkpoints is not None:
            self._last = self._checkpoint()
            if ended or pause or time.monotonic() - self._written_s >= INTERVAL_S:
                self._write()
                self._written_s = time.monotonic()
        self.on_epoch({**row, **speed})

    def back_off(self) -> bool:
        """Go back to the state after the last good epoch, for a tenth of the learning rate.

        Return False, and change nothing, in a trial of a search and after RATE_CUTS times.
        """
        if self.checkpoints is None or self._last is None or self.rate_cuts == RATE_CUTS:
            return False
        self._restore(self._last)
        self.rate_cuts += 1
        # The checkpoint lets a training that is killed now go on with the lower learning rate.
        kept = self._last.facts | {"rate_cuts": self.rate_cuts}
        self._last = Checkpoint(self._last.variables, kept, self._last.arrays)
        self._write()
        return True

    def _write(self) -> None:
        if self.checkpoints and self._last and not self.machines.number:
            self.checkpoints.write(self._last)

    def _checkpoint(self) -> Checkpoint:
        names = ("value", "row", "waited", "phase_value", "recent")
        best = {name: getattr(self.best, name) for name in names}
        facts = {
            "phase": self.phase,
            "epoch": self.epoch,
            "ended": self.ended,
            "rate_cuts": self.rate_cuts,
            "history": list(self.history),
            "best": best,
            "ingredients": len(self.ingredients),
        }
        arrays = {
            "model": read_values(self.model.variables),
            "phase": read_values(self._phase_variables),
            "best": self.best.weights,
            "soup": [array for weights in self.ingredients for array in weights],
        }
        return Checkpoint(_variables(self.model), facts, arrays)

    def _restore(self, checkpoint: Checkpoint) -> None:
        facts, arrays = checkpoint.facts, checkpoint.arrays
        self.phase, self.epoch, self.ended = facts["phase"], facts["epoch"], facts["ended"]
        self.rate_cuts, self.history = facts["rate_cuts"], list(facts["history"])
        for name, value in facts["best"].items():
            setattr(self.best, name, value)
        self.best.weights = list(arrays["best"])
        soup, number = list(arrays["soup"]), facts["ingredients"]
        length = len(soup) // max(1, number)
        self.ingredients = [soup[part * length :][:length] for part in range(number)]
        assign(self.model.variables, arrays["model"])


def _variables(model: Any) -> Variables:
    return [(variable.path, tuple(variable.shape)) for variable in model.variables]
