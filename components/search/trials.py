"""The durable table of the trials of a study: any number of workers take trials from it.

The table is an Optuna study in a database (sqlite or PostgreSQL), so Optuna Dashboard shows it. A
trial is in one of Optuna's states:

    WAITING ── claim ──▶ RUNNING ── complete, prune, fail ──▶ COMPLETE, PRUNED, FAIL
       ▲                    │
       └──── give back ─────┘    its worker died, or stopped in good order

Guarantees, for processes that are killed or paused at any moment:

1. A waiting trial is given to one worker only, the one with the lowest number first.
2. A trial is finished once. A change of a trial happens completely or not at all.
3. Fencing: a worker that lost its trial writes nothing into it, however late it comes back.
4. A trial counts once in the study, however often it is tried. It fails after its second death.

How: each change is one transaction. A claim locks the study, so that there is one claim at a time.
Every other change locks the row of the trial and then reads its attempt, the number of times that
the trial was given to a worker. A claim has the number of its attempt. If the numbers differ, the
transaction writes nothing and LostTrialError is raised. Example:

    worker A claims trial 5                                        attempt 1
    A is paused; the coordinator gives trial 5 back (see watch)
    worker B claims trial 5                                        attempt 2
    A continues and reports a value: 1 is not 2, LostTrialError    nothing is written
    B completes trial 5: 2 is 2                                    the value of B is written

Optuna's own heartbeats are not used: they work only inside of `study.optimize`, compare times of
clocks, and have no fencing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.search.claims import (
    ATTEMPT,
    BEAT,
    DEATHS,
    FAILURE,
    RETRIES,
    TASK,
    WORKER,
    Claim,
    LostTrialError,
    is_held,
    read_claim,
)
from components.search.points import Point
from components.search.rows import (
    enter_state,
    lock_study,
    lock_trial,
    set_trial_attribute,
    study_attribute,
    trial_attribute,
    trials_in,
)
from components.search.study import ENDED, Study
from components.search.tasks import Task

# The attribute of a study: only trials with a lower number are given to workers.
BUDGET = "budget"
# A trial fails when its worker died for the second time: the trial may be what kills the worker.
MOST_DEATHS = 2


class TrialStore(Study):
    """The trials of one study. For the arguments see `Study`."""

    def add(self, number: int, point: Point, task: Task) -> None:
        """Add a waiting trial. If trial `number` exists, nothing happens.

        So a coordinator that was killed can add the same trials again. Raises ValueError if trial
        `number - 1` is missing.
        """
        import optuna

        template = optuna.trial.create_trial(
            state=optuna.trial.TrialState.WAITING,
            params={name: point.overrides[name] for name in point.distributions},
            distributions=dict(point.distributions),
            user_attrs={TASK: task.to_tree()},
            system_attrs={ATTEMPT: 0, DEATHS: 0, BEAT: 0},
        )

        def insert(session: Any, again: bool) -> None:
            lock_study(session, self._study_id)
            trials = trials_in(session, self._study_id).count()
            if number > trials:
                raise ValueError(f"trial {trials} must be added before trial {number}")
            if number == trials:
                # This part of Optuna's `create_new_trial` works inside of a transaction of ours.
                self._storage._get_prepared_new_trial(self._study_id, template, session)

        self._database.change(insert)

    def set_budget(self, trials: int) -> None:
        """Give workers only the trials with a lower number. `trials` returns only these, too.

        The study may have more, of an earlier search with a larger budget. They are kept for a
        later one.
        """
        self.note(BUDGET, trials)

    def waits(self) -> bool:
        """Return whether a trial waits for a worker. It only reads, and locks nothing."""
        return self._database.read(lambda session: self._next(session) is not None)

    def claim(self, worker: str) -> Claim | None:
        """Give the waiting trial with the lowest number to a worker.

        Returns None if no trial waits, or if the study was ended (see `ended`).

        worker: a name that no other process has or had, on any machine. A worker runs one trial at
        a time.
        """

        def take(session: Any, again: bool) -> Claim | None:
            # Only a claim changes a waiting trial, and there is only one claim at a time.
            lock_study(session, self._study_id)
            if again:  # The connection may have been lost after the trial had been given to us.
                for claim in self._running(session):
                    if claim.worker == worker:
                        return claim
            if study_attribute(session, self._study_id, ENDED):
                return None
            trial = self._next(session)
            if trial is None:
                return None
            attempt = trial_attribute(session, trial, ATTEMPT) + 1
            set_trial_attribute(session, trial, ATTEMPT, attempt)
            set_trial_attribute(session, trial, WORKER, worker)
            enter_state(trial, "RUNNING")
            return read_claim(session, trial)

        return self._database.change(take)

    def renew(self, claim: Claim) -> None:
        """Say that the worker lives. Raises LostTrialError if it has lost the trial."""

        def beat(session: Any, trial: Any) -> None:
            set_trial_attribute(session, trial, BEAT, trial_attribute(session, trial, BEAT) + 1)

        self._change_own(claim, beat)

    def report(self, claim: Claim, values: Mapping[int, float]) -> None:
        """Write values of epochs; NaN is allowed. A second value of an epoch replaces the first.

        values: epoch → value. Raises LostTrialError if the worker has lost the trial.
        """

        def write(session: Any, trial: Any) -> None:
            for epoch, value in values.items():
                self._storage._set_trial_intermediate_value_without_commit(
                    session, trial.trial_id, epoch, value
                )

        self._change_own(claim, write)

    def complete(self, claim: Claim, values: Sequence[float]) -> None:
        """Finish a trial with one value for each objective.

        If a value is NaN or infinite, the trial fails instead. Raises ValueError for another number
        of values, and LostTrialError if the worker has lost the trial.
        """
        objectives = len(self._database.study.directions)
        if len(values) != objectives:
            raise ValueError(f"the study has {objectives} objectives. Received: {values}")
        if not all(math.isfinite(value) for value in values):
            return self.fail(claim, f"a value of the objective is no finite number: {values}")

        def write(session: Any, trial: Any) -> None:
            for objective, value in enumerate(values):
                self._storage._set_trial_value_without_commit(
                    session, trial, objective, float(value)
                )

        return self._change_own(claim, write, "COMPLETE")

    def prune(self, claim: Claim) -> None:
        """Finish a trial early. Raises LostTrialError if the worker has lost the trial."""
        self._change_own(claim, lambda session, trial: None, "PRUNED")

    def fail(self, claim: Claim, reason: str) -> None:
        """Finish a trial that did not succeed, such as one with a NaN loss or without memory.

        Raises LostTrialError if the worker has lost the trial.
        """
        self._change_own(
            claim,
            lambda session, trial: set_trial_attribute(session, trial, FAILURE, reason),
            "FAIL",
        )

    def release(self, claim: Claim) -> None:
        """Give a trial back in good order, for example after Ctrl-C. It does not count as a death.

        Raises LostTrialError if the worker has lost the trial.
        """
        self._change_own(claim, lambda session, trial: None, "WAITING")

    def running(self) -> list[Claim]:
        """Return the trials that are running now, by number."""
        return self._database.read(self._running)

    def give_back(self, claim: Claim, reason: str) -> bool:
        """Take a trial from a worker that died: it waits again, or fails after its second death.

        claim: from `running`. If the worker has renewed the claim or finished the trial since then,
        nothing happens. Returns whether the trial was taken. reason: what the user reads.
        """

        def take(session: Any, again: bool) -> bool:
            trial = lock_trial(session, claim.trial_id)
            beat = trial_attribute(session, trial, BEAT)
            if not is_held(session, trial, claim) or beat != claim.beat:
                return False
            set_trial_attribute(session, trial, DEATHS, claim.deaths + 1)
            if claim.deaths + 1 < MOST_DEATHS:
                retries = f"attempt {claim.attempt} on {claim.worker}: {reason}"
                set_trial_attribute(session, trial, RETRIES, retries)
                enter_state(trial, "WAITING")
            else:
                failure = f"its worker died {MOST_DEATHS} times, last {claim.worker}: {reason}"
                set_trial_attribute(session, trial, FAILURE, failure)
                enter_state(trial, "FAIL")
            return True

        return self._database.change(take)

    def trials(self) -> list[Any]:
        """Return the trials (optuna.trial.FrozenTrial, not to be changed), by number.

        See `set_budget`.
        """
        study = self._database.study
        trials: list[Any] = self._database.retry(lambda again: study.get_trials(deepcopy=False))
        return trials[: self.noted(BUDGET)]

    def _next(self, session: Any) -> Any:
        """Return the row of the trial that is given to the next worker, or None."""
        trial = trials_in(session, self._study_id, "WAITING").first()
        budget = study_attribute(session, self._study_id, BUDGET)
        over = trial is None or (budget is not None and trial.number >= budget)
        return None if over else trial

    def _running(self, session: Any) -> list[Claim]:
        return [read_claim(session, row) for row in trials_in(session, self._study_id, "RUNNING")]

    def _change_own(
        self, claim: Claim, write: Callable[[Any, Any], None], state: str = "RUNNING"
    ) -> None:
        """Call write(session, trial) and enter the state, if the claim still has the trial."""

        def change(session: Any, again: bool) -> None:
            trial = lock_trial(session, claim.trial_id)
            if not is_held(session, trial, claim):
                attempt = trial_attribute(session, trial, ATTEMPT)
                if again and attempt == claim.attempt and trial.state.name == state:
                    return  # The connection was lost after this change had been committed.
                raise LostTrialError(
                    f"trial {claim.number}, attempt {claim.attempt} of {claim.worker}, is now "
                    f"{trial.state.name} in attempt {attempt}"
                )
            write(session, trial)
            if state != "RUNNING":
                enter_state(trial, state)

        self._database.change(change)
