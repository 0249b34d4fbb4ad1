"""Workers that have ended → whether others start in their place.

A worker may fail because of its machine: the disk is full, or a file is missing. Then only this
worker ends, and its trial goes to another one. The search ends when no worker works.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from components.errors import UserError

# If more workers than this fail one after the other, none will ever work.
MOST_FAILURES = 5


@dataclass(frozen=True)
class Ended:
    """A worker that has ended before its time.

    worker: its name. cause: why, for people. failed: whether it ended by an error. A worker that
    was killed has not failed: nothing says that the next one will be killed, too.
    """

    worker: str
    cause: str
    failed: bool


class Workers(Protocol):
    """Processes that run trials, on this machine or on others. count: how many at most."""

    count: int

    def tend(self, wanted: int, completed: int) -> list[Ended]:
        """See that up to `wanted` workers run; return those that ended before their time.

        completed: how many trainings of the search are complete. Raises UserError if no worker
        works, see `Failures`.
        """

    def kill(self, worker: str) -> None:
        """End a worker that hangs, if it runs on this machine."""


class Failures:
    """How many workers have failed, one after the other, since a training was complete."""

    def __init__(self) -> None:
        self._count = self._completed = 0
        self._cause = ""

    def too_many(self, ended: Sequence[Ended], completed: int, active: int) -> bool:
        """Return whether no further worker is to be started. Those that work may go on.

        ended: the workers that have ended since the last call. completed: how many trainings of the
        search are complete. active: how many workers there are.
        Raises UserError if too many have failed and none is left.
        """
        if completed != self._completed:
            self._completed, self._count = completed, 0
        for worker in ended:
            if worker.failed:
                self._count, self._cause = self._count + 1, worker.cause
        if self._count <= MOST_FAILURES:
            return False
        if not active:
            raise UserError(
                "the workers of the search end again and again; correct what the last one says, "
                f"and run the same command again. Received: {self._cause}"
            )
        return True
