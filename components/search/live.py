"""The progress of a search → what a person sees while it runs: a table, or lines.

In a terminal, there is one table. Elsewhere, there is a line after a trial, but at most one in
LINE_EVERY_S seconds, and always one at the end of a rung. Nothing here reads the database.
"""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from components.progress import LINE_EVERY_S, live_view
from components.search.progress import Progress
from components.search.rungs import short_name
from components.search.workload import (
    CONFIRMATION,
    Part,
    about,
    in_words,
    seconds_needed,
    seconds_per_epoch,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

log = logging.getLogger(__name__)


class LiveReport:
    """What is reported about a search while it runs.

    parts: what it will train. workers: how many trainings run at the same time. quality: the name
    of the first objective. minutes: the limit of the search, 0 if it has none. guess_s: how many
    seconds an epoch may take on one worker, or None if nothing is known before the first trials.
    spent_s: for how many seconds earlier processes have run the search.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        workers: int,
        quality: str,
        minutes: float,
        guess_s: float | None = None,
        spent_s: float = 0.0,
    ) -> None:
        self._parts, self._workers, self._quality = parts, workers, quality
        self._guess_s = guess_s
        self._until = time.monotonic() + 60 * minutes - spent_s if minutes else math.inf
        self._rungs: dict[str, Progress] = {}  # in the order in which they ran
        self._before = 0  # trials of the present rung that were finished before this process began
        self._rung_began = 0.0
        self._table = False
        self._line_s = -math.inf  # when the last line was logged
        self._reported = 0  # trials of the present rung at the last line

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Say what the search will do, and show how it goes while the block runs."""
        log.info(self._plan_in_words())
        with live_view(self._draw) as self._table:
            yield

    def update(self, progress: Progress) -> None:
        """Take over where the search stands. Without a terminal, this logs a line now and then."""
        now = time.monotonic()
        name = short_name(progress.rung)
        if name not in self._rungs:
            self._before, self._reported, self._rung_began = progress.finished, 0, now
        self._rungs = {**self._rungs, name: progress}  # Another thread may be drawing the old one.
        if self._table or not progress.finished:
            return
        due = progress.finished > self._reported and now - self._line_s >= LINE_EVERY_S
        if due or progress.over:
            self._line_s, self._reported = now, progress.finished
            log.info(f"{name}: {self._counts(progress)}, {', '.join(self._words(progress))}")

    def _plan_in_words(self) -> str:
        words = in_words(self._parts)
        on = "1 worker" if self._workers == 1 else f"{self._workers} workers"
        if self._guess_s is None:
            return (
                f"at most {words}, on {on}; how long this takes can be said when the first trials "
                "are finished"
            )
        seconds = seconds_needed(self._parts, self._guess_s, self._workers)
        return (
            f"{about(seconds)} on {on}: {words}; until the first trials are finished, the time is "
            "a guess from the last search of this model"
        )

    def _counts(self, progress: Progress) -> str:
        more = [
            f"{number} {name}"
            for name, number in (
                ("running", progress.running),
                ("pruned", progress.pruned),
                ("failed", progress.failed),
            )
            if number
        ]
        what = "trainings" if short_name(progress.rung) == CONFIRMATION else "trials"
        return ", ".join([f"{progress.finished} of {progress.wanted} {what}", *more])

    def _words(self, progress: Progress) -> list[str]:
        words = []
        if best := progress.best:
            words.append(
                f"best {self._quality} {best.values[self._quality]:.4g} (trial {best.number})"
            )
        if rate := self._per_minute(progress):
            words.append(f"{rate:.{0 if rate >= 10 else 1}f} a minute")
        if progress.stopped:
            words.append("no further trial starts")
        elif left := self._seconds_left(progress):
            words.append(f"{about(left)} left")
        return words

    def _per_minute(self, progress: Progress) -> float:
        minutes = (time.monotonic() - self._rung_began) / 60
        return (progress.finished - self._before) / minutes if minutes > 0 else 0.0

    def _seconds_left(self, progress: Progress) -> float | None:
        """Return how long the rung and those after it will take; None if it is not known yet."""
        took = {
            name: (rung.complete + rung.pruned, rung.seconds) for name, rung in self._rungs.items()
        }
        per_epoch = seconds_per_epoch(self._parts, took)
        if per_epoch is None:
            return None
        names = [part.rung for part in self._parts]
        name = short_name(progress.rung)
        position = names.index(name)
        later = seconds_needed(self._parts[position + 1 :], per_epoch, self._workers)
        each = progress.seconds or self._parts[position].epochs * per_epoch
        # On average, a trial that runs is half finished.
        waiting = progress.wanted - progress.finished - progress.running / 2
        now = time.monotonic()
        return min(later + waiting / self._workers * each, max(0.0, self._until - now))

    def _draw(self) -> "RenderableType":
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("rung")
        for name in ("running", "complete", "pruned", "failed", "of"):
            table.add_column(name, justify="right")
        rungs = self._rungs
        for name, rung in rungs.items():
            numbers = (rung.running, rung.complete, rung.pruned, rung.failed, rung.wanted)
            table.add_row(name, *map(str, numbers))
        if not rungs:
            return Text("the search begins")
        last = list(rungs.values())[-1]
        return Group(table, Text(", ".join(self._words(last))))
