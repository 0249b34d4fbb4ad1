"""The rows of a rung → where it stands, in numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from components.search.trial import Trial


@dataclass(frozen=True)
class Progress:
    """Where a rung of a search stands.

    rung: its name. complete, pruned, failed, running: how many of its trials are in this state.
    wanted: how many trials it will have. seconds: how long a trial takes that is complete or
    pruned, the median, because the first trial of a worker takes longer; 0 if there is none. best:
    the best trial of the whole search so far, or None. over: whether the rung is over. stopped:
    whether no further trial starts, because the search ends early.
    """

    rung: str
    complete: int
    pruned: int
    failed: int
    running: int
    wanted: int
    seconds: float
    best: Trial | None
    over: bool
    stopped: bool = False

    @property
    def finished(self) -> int:
        """Return how many trials of the rung have ended."""
        return self.complete + self.pruned + self.failed


def progress(
    rung: str,
    rows: Sequence[Any],
    wanted: int,
    best: Trial | None,
    over: bool,
    stopped: bool,
) -> Progress:
    """Return where a rung stands. rows: of its study (optuna.trial.FrozenTrial)."""
    states = Counter(row.state.name for row in rows)
    trained = [
        row.duration.total_seconds()
        for row in rows
        if row.state.name in ("COMPLETE", "PRUNED") and row.duration
    ]
    return Progress(
        rung=rung,
        complete=states["COMPLETE"],
        pruned=states["PRUNED"],
        failed=states["FAIL"],
        running=states["RUNNING"],
        wanted=wanted,
        seconds=median(trained) if trained else 0.0,
        best=best,
        over=over,
        stopped=stopped,
    )
