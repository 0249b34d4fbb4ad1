"""Running trials → those whose worker died or was paused wait again, or fail.

The coordinator of a search keeps one `Watch` and calls `look` every few seconds. A worker renews
its claim every few seconds (`components.search.heartbeat`). A renewal only raises a number,
`Claim.beat`; no time is stored. The watch measures, with the monotonic clock of the coordinator,
for how long the number has not changed. So a machine with a wrong clock, or a clock that is set,
kills no trial.

This also works if the whole machine of a worker is gone: nothing of it has to say so.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from components.search.claims import Claim
from components.search.trials import TrialStore

# A gap between two looks counts as at most this share of the grace time. If the coordinator itself
# was paused (a laptop that slept), its workers were perhaps paused, too, and need time to renew.
LONGEST_GAP = 0.25


@dataclass
class _Silence:
    claim: Claim
    seconds: float


class Watch:
    """Takes trials from workers that have been silent for too long.

    store: the trials. grace_s: a worker is believed dead if it has not renewed its claim for this
    number of seconds. It should be several times the period of renewals.
    stop_worker: called with the claim before the trial is taken, for example to kill a process that
        hangs. This is necessary with sqlite: a process that is paused in the middle of a
        transaction locks the file until it ends.
    clock: seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        store: TrialStore,
        grace_s: float,
        stop_worker: Callable[[Claim], None] = lambda claim: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._grace_s = store, grace_s
        self._stop_worker, self._clock = stop_worker, clock
        self._silent: dict[int, _Silence] = {}
        self._last_look = clock()

    def look(self) -> list[Claim]:
        """Take the trials of all silent workers, and return the claims that were taken.

        A trial whose worker died for the first time waits again; after the second death it fails.
        Call it at least four times in `grace_s`, otherwise a death is noticed later.
        """
        now = self._clock()
        gap = min(now - self._last_look, self._grace_s * LONGEST_GAP)
        self._last_look = now
        before, self._silent = self._silent, {}
        taken = []
        for claim in self._store.running():
            known = before.get(claim.trial_id)
            silence = known.seconds + gap if known and known.claim == claim else 0.0
            if silence >= self._grace_s:
                self._stop_worker(claim)
                if self._store.give_back(claim, f"no sign of life for {self._grace_s:g} s"):
                    taken.append(claim)
                    continue
                # It has renewed its claim in the last moment, so the next look finds another claim.
            self._silent[claim.trial_id] = _Silence(claim, silence)
        return taken
