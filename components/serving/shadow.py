"""A second model that is asked beside the one that answers: how often do they differ?

Its answers go to nobody. It gets images only while it has free places, so it delays no answer for
longer than the processor is shared; what it does not get is counted as dropped.
"""

import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from components.errors import one_line
from components.serving.following import Follower
from components.serving.metrics import Metrics
from components.serving.model import Model, Prediction

log = logging.getLogger(__name__)

PLACES = 64  # images of the shadow in work; further ones are dropped
PAIRS = 10  # pairs of classes that the summary names


@dataclass
class Comparison:
    """What a shadow said beside the model that answered, since one of the two was changed.

    asked: the number of images. same: on how many both have the same class, or both a fault.
    dropped: how many the shadow did not get. difference: the sum of the absolute differences of the
    probabilities that both gave to the class that was answered. pairs: (class that was answered,
    class of the shadow) → number of images.
    """

    asked: int = 0
    same: int = 0
    dropped: int = 0
    difference: float = 0.0
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)


class Shadow:
    """Asks a second model in a thread of its own, and compares.

    answering, follower: hold the model that answers, and the second one.
    """

    def __init__(self, answering: Follower, follower: Follower, metrics: Metrics) -> None:
        self._answering, self.follower = answering, follower
        self._metrics = metrics
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._in_work = 0
        self.comparison = Comparison()
        for one in (answering, follower):
            one.on_swap.append(lambda model: self._begin_again())

    def _begin_again(self) -> None:
        """Forget what was compared, because one of the two models was changed."""
        with self._lock:
            self.comparison = Comparison()

    def ask(self, content: bytes, answered: Prediction, by: Model) -> None:
        """Let the shadow predict an image that was answered; drop it if too many wait.

        by: the model that has answered.
        """
        with self._lock:
            if self._in_work >= PLACES:
                self.comparison.dropped += 1
                self._metrics.shadow.labels("dropped").inc()
                return
            self._in_work += 1
        self._pool.submit(self._compare, content, answered, by)

    def close(self) -> None:
        """Drop what waits, and end the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.follower.close()

    def summary(self) -> dict[str, Any]:
        """Return what was compared, as a tree for JSON."""
        with self._lock:
            seen = self.comparison
            version = self.follower.current.model.version
            return {
                "version": version.number if version else None,
                "asked": seen.asked,
                "same": seen.same,
                "dropped": seen.dropped,
                "mean_difference": seen.difference / seen.asked if seen.asked else None,
                "most_frequent": [
                    {"answered": answered, "shadow": shadow, "images": count}
                    for (answered, shadow), count in seen.pairs.most_common(PAIRS)
                ],
            }

    def _compare(self, content: bytes, answered: Prediction, by: Model) -> None:
        try:
            with self.follower.lease() as served:
                model = served.model
                [said] = model.predict([content], top=len(model.class_names))
            ours, theirs = (p.label or f"fault {p.fault}" for p in (answered, said))
            other = said.probabilities.get(answered.label or "", 0.0)
            with self._lock:
                now = (self._answering.current.model, self.follower.current.model)
                if now != (by, model):
                    return  # One of the two was changed meanwhile.
                self.comparison.asked += 1
                self.comparison.same += ours == theirs
                self.comparison.difference += abs(other - (answered.probability or 0.0))
                if ours != theirs:
                    self.comparison.pairs[ours, theirs] += 1
            self._metrics.shadow.labels("same" if ours == theirs else "other").inc()
        except Exception as error:  # nobody waits for this answer, so it must at least be said
            log.warning(f"the shadow did not answer: {one_line(error)}")
        finally:
            with self._lock:
                self._in_work -= 1
