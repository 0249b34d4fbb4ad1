"""The database of a search → what a person asks about it: how it stands, what is best, what failed.

It only reads, so it may be called while the search runs, and from any process.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from components.errors import UserError
from components.params.hyperparameters import Hyperparameters
from components.params.search import Search
from components.search.claims import ATTEMPT, FAILURE, RETRIES, TASK, WORKER
from components.search.coordinator import OUTCOME, STOP
from components.search.planning import Planning
from components.search.progress import progress
from components.search.rungs import Rungs, short_name
from components.search.standings import Standings
from components.search.tasks import Task
from components.search.trial import Trial
from components.search.workload import parts, seconds_per_epoch

PATIENCE_S = 5.0  # a person waits for the answer


@dataclass(frozen=True)
class Rung:
    """A rung of a search: its name, and the numbers of its trials in each state. seconds: see
    `Progress`.
    """

    name: str
    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int
    seconds: float


@dataclass(frozen=True)
class Running:
    """A training that runs now. worker: its worker. rung: its name. task: what is trained. seconds:
    for how long. attempt: the number of workers that were given it. last: the newest (epoch, value
    of the quality), or None.
    """

    worker: str
    rung: str
    task: Task
    seconds: float
    attempt: int
    last: tuple[int, float] | None


@dataclass(frozen=True)
class Trouble:
    """A training that failed, or was given to another worker. trial: its number. rung: its name.
    failed: whether it failed for good. reason: why.
    """

    trial: int
    rung: str
    failed: bool
    reason: str


@dataclass(frozen=True)
class Overview:
    """A search as its database has it.

    ended: why it has ended, or None if it has not. stop: why it is to end early, or None. rungs: in
    their order. trials: by number. ranked: the numbers of the complete trials that are within all
    costs, the best one first. running, troubles: see these. chosen: the number of the trial that
    training uses, or None if it is not known yet. sentences: why.
    """

    ended: str | None
    stop: str | None
    rungs: Sequence[Rung]
    trials: Sequence[Trial]
    ranked: Sequence[int]
    running: Sequence[Running]
    troubles: Sequence[Trouble]
    chosen: int | None
    sentences: Sequence[str]


def read_overview(url: str, study: str, search: Search, written: Hyperparameters) -> Overview:
    """Return how a search stands. url, study: see `Rungs`. search, written: of params.yaml.

    Raises UserError if the database cannot be read.
    """
    rungs = Rungs(url, study, PATIENCE_S)
    try:
        standings = Standings(search, Planning(search, written).epochs)
        counted, running, troubles = [], [], []
        for name, store in rungs.named().items():
            rows = store.trials()
            counted.append(_count(name, rows))
            running += [_running(name, row) for row in rows if row.state.name == "RUNNING"]
            troubles += [trouble for row in rows if (trouble := _trouble(name, row))]
            for row in rows:
                if row.state.is_finished():
                    standings.learn(row, len(counted) - 1)
        standings.confirm(standings.confirmed())
        outcome = rungs.first.noted(OUTCOME) or {}
        return Overview(
            ended=rungs.first.ended(),
            stop=rungs.first.noted(STOP),
            rungs=counted,
            trials=standings.trials,
            ranked=standings.ranked(),
            running=running,
            troubles=troubles,
            chosen=outcome.get("trial"),
            sentences=outcome.get("sentences", []),
        )
    finally:
        rungs.close()


def read_speed(url: str, study: str, search: Search, written: Hyperparameters) -> float | None:
    """Return how many seconds an epoch took in a search, on one worker; None if it is not known.

    For the arguments and the error, see `read_overview`.
    """
    rungs = read_overview(url, study, search, written).rungs
    took = {short_name(rung.name): (rung.complete + rung.pruned, rung.seconds) for rung in rungs}
    return seconds_per_epoch(parts(search, written), took)


def note_outcome(rungs: Rungs, trial: int, sentences: Sequence[str]) -> None:
    """Write into the database which trial training uses, and why."""
    rungs.first.note(OUTCOME, {"trial": trial, "sentences": list(sentences)})


def request_stop(url: str, study: str, reason: str) -> None:
    """Ask a search to end early: no further trial starts, and those that run are finished.

    Raises UserError if the search is over, or if the database cannot be used.
    """
    rungs = Rungs(url, study, PATIENCE_S)
    try:
        if ended := rungs.first.ended():
            stop = rungs.first.noted(STOP)
            over = "it ends already" if stop else "the search is over already"
            raise UserError(f"{over}; `fovea study` shows what it found. Received: {ended}")
        rungs.first.note(STOP, reason)
    finally:
        rungs.close()


def _count(name: str, rows: Sequence[Any]) -> Rung:
    now = progress(name, rows, len(rows), best=None, over=False, stopped=False)
    waiting = len(rows) - now.finished - now.running
    return Rung(name, now.complete, now.pruned, now.failed, now.running, waiting, now.seconds)


def _running(rung: str, row: Any) -> Running:
    step = row.last_step
    return Running(
        worker=str(row.user_attrs.get(WORKER, "")),
        rung=rung,
        task=Task.from_tree(row.user_attrs[TASK]),
        # The start is a local time of the machine of the worker, whose clock may be ahead of ours.
        seconds=max(0.0, (datetime.now() - row.datetime_start).total_seconds()),
        attempt=int(row.system_attrs.get(ATTEMPT, 1)),
        last=None if step is None else (step, row.intermediate_values[step]),
    )


def _trouble(rung: str, row: Any) -> Trouble | None:
    failed = row.state.name == "FAIL"
    reason = row.user_attrs.get(FAILURE if failed else RETRIES)
    if not failed and not reason:
        return None
    trial = Task.from_tree(row.user_attrs[TASK]).trial
    return Trouble(trial, rung, failed, str(reason or "the reason is not known"))
