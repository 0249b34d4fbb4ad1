"""Studies with waiting trials → finished trials: the loop of one worker process."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from components.errors import HyperparameterError, UserError, one_line
from components.search.claims import Claim, LostTrialError
from components.search.heartbeat import Heartbeat
from components.search.pruning import MedianRule
from components.search.rungs import Rungs
from components.search.tasks import PrunedError, RunTask
from components.search.trials import TrialStore
from components.training.limits import TrainingFailedError

log = logging.getLogger(__name__)

# How many trials a worker process runs before a new one takes its place. TensorFlow and Keras keep
# some memory of each network that they have built; a new process costs some seconds.
RENEWED_AFTER = 40
# Of these, a trial fails, and the study goes on.
FAILURES = (TrainingFailedError, MemoryError)
# These end the worker, and its trial is given back. Any other error is a bug: it ends the worker,
# too, but the trial fails.
ENDS = (KeyboardInterrupt, SystemExit, UserError)
POLL_S = 0.2
WRITE_EVERY_S = 1.0  # how often the values of a trial are written while it trains
ERROR = "error"  # the attribute of the first study: an error of every trial, which ends the search


def work(
    rungs: Rungs,
    worker: str,
    objectives: Sequence[str],
    run: RunTask,
    every_s: float,
    most: int = RENEWED_AFTER,
    rule: MedianRule | None = None,
) -> int:
    """Run waiting trials until the search has ended, or `most` trials are done. Return how many.

    rungs: the studies of the search; trials of an earlier rung come first. worker: the name of this
    process, see `TrialStore.claim`. objectives: the names of the values of a trial. run: trains a
    task. every_s: seconds between two signs of life. rule: says which trials of the first rung stop
    early.

    If the training raises TrainingFailedError or MemoryError, only the trial fails. After Ctrl-C or
    SIGTERM, the trial is given back, so that it does not count as a death. A UserError is about no
    single trial, but perhaps about this machine: the trial is given back, too, and the error is
    raised. A HyperparameterError would end every trial on every machine, so it is also written into
    the study, for the coordinator. Any other exception makes the trial fail and is raised.
    """
    done = 0
    try:
        while done < most:
            store, claim = _claim(rungs.stores(), worker)
            if claim:
                early = rule if store is rungs.first else None
                _run_claim(store, claim, objectives, run, every_s, early)
                done += 1
            elif rungs.first.ended():
                break
            else:
                time.sleep(POLL_S)
    except ENDS as error:
        # A signal may come just after a trial was taken.
        with suppress(UserError):
            rungs.release(worker)
        if isinstance(error, HyperparameterError):
            rungs.first.note(ERROR, str(error))
        raise
    return done


def _claim(stores: Sequence[TrialStore], worker: str) -> tuple[Any, Claim | None]:
    for store in stores:
        if store.waits() and (claim := store.claim(worker)):
            return store, claim
    return None, None


def _run_claim(
    store: TrialStore,
    claim: Claim,
    objectives: Sequence[str],
    run: RunTask,
    every_s: float,
    rule: MedianRule | None,
) -> None:
    with Heartbeat(store, claim, every_s) as heartbeat:
        # Other trials are compared with the present epoch of this one only by a rule.
        curve = _Curve(store, claim, 0.0 if rule else WRITE_EVERY_S)

        def on_value(epoch: int, value: float) -> None:
            heartbeat.check()
            curve.add(epoch, value)
            if rule and rule.stops(claim.number, curve.values, store.trials()):
                raise PrunedError

        try:
            _train_and_finish(store, claim, objectives, curve, lambda: run(claim.task, on_value))
        except LostTrialError as error:
            log.warning(f"{error}; it is dropped here")


def _train_and_finish(
    store: TrialStore,
    claim: Claim,
    objectives: Sequence[str],
    curve: "_Curve",
    train: Callable[[], Mapping[str, float]],
) -> None:
    """Train a trial, and finish it, whatever happens. Raises LostTrialError if another has it.

    What ends the worker ends it also if the trial is lost, or if the database is away.
    """
    finish: Callable[[], None]
    try:
        try:
            values = train()
            finish = partial(store.complete, claim, [values[name] for name in objectives])
        except PrunedError:
            finish = partial(store.prune, claim)
        except FAILURES as error:
            finish = partial(store.fail, claim, one_line(error) or type(error).__name__)
        curve.write()
        finish()
    except LostTrialError:
        raise
    except BaseException as error:
        with suppress(LostTrialError, UserError):
            curve.write()
            if not isinstance(error, ENDS):  # After these, `work` gives the trial back.
                store.fail(claim, f"{type(error).__name__}: {one_line(error)}")
        raise


class _Curve:
    """The values of the epochs of a trial, on their way to the database.

    An epoch of a head takes some milliseconds, as long as a change of the database. So the values
    of a moment are written together. If the worker is killed before, none is missing later: the
    trial goes on from a checkpoint with all epochs before it, and trains the others again.
    """

    def __init__(self, store: TrialStore, claim: Claim, every_s: float) -> None:
        self.values: dict[int, float] = {}
        self._waiting: dict[int, float] = {}
        self._store, self._claim, self._every_s = store, claim, every_s
        self._written_s = time.monotonic()

    def add(self, epoch: int, value: float) -> None:
        """Add a value, and write all that wait, if the last time was long enough ago."""
        self.values[epoch] = self._waiting[epoch] = value
        if time.monotonic() - self._written_s >= self._every_s:
            self.write()

    def write(self) -> None:
        """Write the values that wait. Raises LostTrialError if the worker has lost the trial."""
        if self._waiting:
            self._store.report(self._claim, self._waiting)
            self._waiting = {}
            self._written_s = time.monotonic()
