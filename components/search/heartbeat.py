"""A claim → a thread that renews it while its trial trains.

The thread shows that the process lives, not that the training makes progress: a process that hangs
in a computation still renews. Limits on the time of a trial belong to the training.
"""

import threading
from types import TracebackType

from components.search.claims import Claim
from components.search.trials import TrialStore


class Heartbeat:
    """Renews a claim every `every_s` seconds inside of a `with` block.

    store: the trials. claim: the claim of this worker. every_s: seconds between two renewals; at
    most a third of the grace time of the `Watch`, because a renewal may have to wait for a lock.

        with Heartbeat(store, claim, every_s=5.0) as heartbeat:
            for epoch in ...:
                heartbeat.check()
    """

    def __init__(self, store: TrialStore, claim: Claim, every_s: float) -> None:
        self._store, self._claim, self._every_s = store, claim, every_s
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._renew, daemon=True, name="heartbeat")

    def __enter__(self) -> "Heartbeat":
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the thread. It never renews a claim after the `with` block."""
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raise LostTrialError if the trial was given to another worker.

        A worker that calls this function after each epoch does not train to the end what nobody
        will take. Raises UserError if the database of the study is away for too long, and every
        other error of the thread.
        """
        if self._error:
            raise self._error

    def _renew(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self._store.renew(self._claim)
            except Exception as error:  # It is raised where the training is, see `check`.
                self._error = error
                return
