"""A search → its finished trials: which trials are added, who goes on, and whose worker has died.

There is one coordinator, and any number of workers. It alone asks the sampler and decides who goes
on. Everything that it knows is in the database, so it may be killed at any moment: the next one
with the same database finds the trials that are there, and adds what is missing.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from components.errors import UserError
from components.params.hyperparameters import Hyperparameters
from components.params.search import Search
from components.search.claims import ATTEMPT, WORKER
from components.search.confirmation import WRITTEN
from components.search.halving import rounds
from components.search.planning import Planning
from components.search.points import Point
from components.search.progress import Progress, progress
from components.search.rungs import FIRST, Rungs, short_name
from components.search.standings import Standings
from components.search.tasks import Task
from components.search.trial import Course, Trial
from components.search.trials import TrialStore
from components.search.watch import Watch
from components.search.worker import ERROR
from components.search.workers import Workers

log = logging.getLogger(__name__)

LOOK_S = 0.2
LONGEST_NAMES = 300  # characters
# So many trials wait for workers at most, beside two for each worker: with a budget of time,
# `search.trials` may be any number.
AHEAD = 50
# A worker renews its claim every BEAT_S seconds, and is believed dead after GRACE_S.
BEAT_S, GRACE_S = 5.0, 60.0
SPENT = "seconds"  # the attribute of the first study: for how long the search has run until now
NOTED_S = 10.0  # how often this is written
# Other attributes of the first study: why the search is to end early; and which trial training
# uses, and why.
STOP, OUTCOME = "stop", "outcome"


OnTrial = Callable[[Trial, Course], None]
OnProgress = Callable[[Progress], None]


class Coordinator:
    """Runs one search.

    rungs: its studies. search, written: the sections of params.yaml. workers: who runs the trials.
    on_trial: is called once for each trial when it goes no further, also for those that were
    finished before this process began. on_progress: is called several times in a second, and at the
    end of each rung. grace_s: see `Watch`. clock: seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        rungs: Rungs,
        search: Search,
        written: Hyperparameters,
        workers: Workers,
        on_trial: OnTrial,
        on_progress: OnProgress = lambda progress: None,
        grace_s: float = GRACE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rungs, self._search, self._workers = rungs, search, workers
        self._planning = Planning(search, written)
        self._standings = Standings(search, self._planning.epochs)
        self._on_trial, self._on_progress, self._grace_s = on_trial, on_progress, grace_s
        self._directions = [search.directions[name] for name in search.objectives]
        self._noted: float = rungs.first.noted(SPENT) or 0.0
        self._clock = clock
        self._begun = clock() - self._noted
        self._settled: set[int] = set()
        self._completed = 0  # trainings, of all rungs
        self._said: set[str] = set()  # why workers ended that had no trial
        self._stopped: str | None = None
        self._missing: list[str] = []  # what an early end has left out, in words

    def find(self) -> list[Trial]:
        """Run the first rung and the rounds of the finalists, and return all trials, by number."""
        for of_an_earlier_process in (ERROR, OUTCOME):
            self._rungs.first.note(of_an_earlier_process, None)
        self._rungs.begin()
        self._look_at_the_end(self._rungs.first)
        if not self._stopped:
            self._rungs.first.go_on()
        self._run(FIRST, self._rungs.first, self._search.trials, self._choose)
        going = self._standings.ranked(self._search.finalists)
        for number, plan in enumerate(rounds(len(going), self._search.eta), start=1):
            going = self._standings.best(going, plan.trials)
            tasks = [self._task(n, plan.until(self._standings.epochs(n))) for n in going]
            # A round with another share, after `keep` has changed, is another study.
            share = "all" if plan.share == 1 else f"{plan.share} of the"
            self._run_tasks(f"round {number} of {_names(going)}, {share} epochs", tasks, number)
        return self._standings.trials

    def confirm(self, folds: int) -> list[Trial]:
        """Train the best trials and trial 0 again on `folds` folds, and return all trials."""
        best = self._standings.ranked(self._search.confirm.trials)
        if best and not self._standings.has(WRITTEN):  # The search has ended early.
            self._missing.append("no confirmation")
        elif best and best != [WRITTEN]:
            numbers = list(dict.fromkeys([WRITTEN, *best]))
            tasks = [
                replace(self._task(number, None), fold=fold)
                for fold in range(folds)
                for number in numbers
            ]
            self._run_tasks(f"confirmation of {_names(numbers)}", tasks)
            self._standings.confirm(numbers)
        return self._standings.trials

    def settle(self) -> None:
        """Report the trials that have not been reported, because they could still go further."""
        for trial in self._standings.trials:
            self._settle(trial.number)

    def end(self, reason: str) -> None:
        """Let the workers end. A later search with the same name may go on."""
        for store in self._rungs.stores():
            store.end(reason)
        self._rungs.first.note(STOP, None)

    def best(self) -> list[int]:
        """Return the numbers of the complete trials that are within all costs, the best first."""
        return self._standings.ranked()

    @property
    def early_end(self) -> str | None:
        """Return a sentence about what was left out, if the search ended early; otherwise None."""
        if not self._missing:
            return None
        return f"the search ended early ({self._stopped}): {'; '.join(self._missing)}"

    def _choose(self, number: int, finished: Sequence[Any]) -> tuple[Point, Task] | None:
        point = self._planning.choose(number, finished)
        return (point, self._planning.first_task(number, point)) if point else None

    def _settle_the_rest(self) -> None:
        """Report the trials of the first rung that surely go no further.

        A trial that is not among the best now will not be among them later.
        """
        most = max(self._search.finalists, self._search.confirm.trials, 1)
        open_ = {WRITTEN, *self._standings.ranked(most)}
        for trial in self._standings.trials:
            if trial.number not in open_:
                self._settle(trial.number)

    def _settle(self, number: int) -> None:
        if number in self._settled:
            return
        self._settled.add(number)
        rows = self._standings.rows(number)
        spent = [row.duration.total_seconds() for row in rows if row.duration]
        self._on_trial(
            self._standings.trial(number),
            Course(
                curve=rows[-1].intermediate_values,
                began=min(row.datetime_start or row.datetime_complete for row in rows),
                ended=max(row.datetime_complete for row in rows),
                seconds=sum(spent),
                worker=str(rows[-1].user_attrs.get(WORKER, "")),
                attempts=sum(row.system_attrs.get(ATTEMPT, 0) for row in rows),
            ),
        )

    def _task(self, number: int, epochs: int | None) -> Task:
        """Return a task of a trial. A complete training has the number None, like the stage."""
        overrides = self._standings.trial(number).overrides
        full = epochs is None or epochs >= self._standings.epochs(number)
        return Task(number, overrides, None if full else epochs)

    def _run_tasks(self, rung: str, tasks: Sequence[Task], number: int = 0) -> None:
        """Run a later rung. After a stop, only what it had before is read."""
        if self._stopped and not self._rungs.exists(rung):
            self._missing.append(f"no {short_name(rung)}")
            return
        store = self._rungs.add(rung, self._directions)
        if self._stopped:
            store.end(self._stopped)
        else:
            store.go_on()

        def choose(number: int, finished: Sequence[Any]) -> tuple[Point, Task]:
            return Point(tasks[number].overrides), tasks[number]

        self._run(rung, store, len(tasks), choose, number)

    def _run(
        self,
        rung: str,
        store: TrialStore,
        wanted: int,
        choose: Callable[[int, Sequence[Any]], tuple[Point, Task] | None],
        rung_number: int = 0,
    ) -> None:
        """Run one rung to its end."""
        store.set_budget(wanted)
        watch = Watch(store, self._grace_s, lambda claim: self._workers.kill(claim.worker))
        first = store is self._rungs.first
        learned: set[int] = set()
        while True:
            self._look_at_the_end(store)
            rows = store.trials()
            finished = {row.number for row in rows if row.state.is_finished()}
            new = finished - learned
            for row in rows:
                if row.number in new:
                    self._standings.learn(row, rung_number)
                    self._completed += row.state.name != "FAIL"
            learned |= new
            if first and new:
                self._settle_the_rest()
            number = len(rows)
            most = min(wanted, len(finished) + AHEAD + 2 * self._workers.count)
            while number < most and not self._stopped:
                needed = self._planning.needed(number) if first else range(0)
                if not finished.issuperset(needed):
                    break
                made = choose(number, rows)
                if made is None:  # a grid has no further point
                    wanted = number
                    break
                store.add(number, *made)
                number += 1
            running = sum(row.state.name == "RUNNING" for row in rows)
            # After a stop, no worker is given a trial that waits.
            over = not running if self._stopped else len(finished) == number >= wanted
            best = self._standings.ranked(1)
            winner = self._standings.trial(best[0]) if best else None
            self._on_progress(progress(rung, rows, wanted, winner, over, bool(self._stopped)))
            if over:
                break
            self._tend(store, watch, 0 if self._stopped else number - len(finished))
            time.sleep(LOOK_S)
        if len(finished) < wanted:
            self._missing.append(f"{len(finished)} of {wanted} trainings of the {rung}")

    def _tend(self, store: TrialStore, watch: Watch, waiting: int) -> None:
        """Let the workers be replaced, and give back the trials of those that ended."""
        if error := self._rungs.first.noted(ERROR):
            raise UserError(error)
        ended = self._workers.tend(waiting, self._completed)
        causes = {worker.worker: worker.cause for worker in ended}
        for claim in store.running():
            cause = causes.get(claim.worker)
            if cause and store.give_back(claim, cause):
                log.warning(f"the worker of trial {claim.task.trial} ended: {cause}")
                self._said.add(cause)
        for cause in causes.values():
            if cause not in self._said:  # It had no trial, or has given it back itself.
                log.warning(f"a worker ended: {cause}")
                self._said.add(cause)
        for claim in watch.look():
            log.warning(f"trial {claim.task.trial} is tried again: no sign of life of its worker")

    def _look_at_the_end(self, store: TrialStore) -> None:
        """Find out whether the search must end early: by its time, or by `fovea study stop`.

        Then the workers are given no further trials. A stop is remembered until the search has
        ended, so it is not lost if this process is killed now, or if it has just begun.
        """
        spent = self._clock() - self._begun
        minutes = self._search.minutes
        if minutes and spent > self._noted + NOTED_S:
            self._rungs.first.note(SPENT, spent)  # for the next process, if this one is killed
            self._noted = spent
        if self._stopped is None:
            self._stopped = self._rungs.first.noted(STOP)
            if self._stopped is None and minutes and spent > 60 * minutes:
                self._stopped = f"search.minutes: {minutes:g} are over"
            if self._stopped:
                log.info(
                    f"{self._stopped}: no further trial starts, and those that run are finished"
                )
                store.end(self._stopped)
                self._rungs.first.end(self._stopped)


def _names(numbers: Sequence[int]) -> str:
    """Return the numbers of trials as a part of the name of a study, for which Optuna has a limit.

    >>> _names([3, 17]), _names(range(100, 200))
    ('3 17', '100 trials (ea7c146fbd)')
    """
    names = " ".join(map(str, numbers))
    if len(names) <= LONGEST_NAMES:
        return names
    return f"{len(numbers)} trials ({hashlib.sha256(names.encode()).hexdigest()[:10]})"
