"""The row of a running trial → the claim of its worker, and whether it still has the trial."""

from dataclasses import dataclass
from typing import Any

from components.search.rows import trial_attribute
from components.search.tasks import Task

# The attributes of a trial: those of claims, and those that people read; see `rows.SYSTEM`.
ATTEMPT, DEATHS, BEAT = "fovea:attempt", "fovea:deaths", "fovea:beat"
TASK, WORKER, RETRIES, FAILURE = "task", "worker", "retries", "failure"


class LostTrialError(Exception):
    """The trial was given to another worker, or is finished. Nothing was written.

    A worker that catches this error drops its trial and claims the next one.
    """


@dataclass(frozen=True)
class Claim:
    """A trial that a worker runs, as it was when it was read.

    trial_id: Optuna's key of the trial. number: the position of the trial in the study. attempt:
    how many workers were given the trial, with this one. deaths: how many of them died. beat: how
    often this worker and the earlier ones have renewed their claims. worker: the name of the
    worker. task: what it trains.
    """

    trial_id: int
    number: int
    attempt: int
    deaths: int
    beat: int
    worker: str
    task: Task


def is_held(session: Any, trial: Any, claim: Claim) -> bool:
    """Return whether the trial, whose row is locked, still belongs to the claim: the fence."""
    attempt = trial_attribute(session, trial, ATTEMPT)
    return bool(trial.state.name == "RUNNING" and attempt == claim.attempt)


def read_claim(session: Any, trial: Any) -> Claim:
    """Return the claim of a running trial."""

    def attribute(key: str) -> Any:
        return trial_attribute(session, trial, key)

    return Claim(
        trial_id=trial.trial_id,
        number=trial.number,
        attempt=attribute(ATTEMPT),
        deaths=attribute(DEATHS),
        beat=attribute(BEAT),
        worker=attribute(WORKER),
        task=Task.from_tree(attribute(TASK)),
    )
