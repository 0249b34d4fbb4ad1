"""The address of a model → the model that answers, also after its alias has moved.

A new champion is checked, loaded and warmed up beside the old one. Then it answers every request
that begins, and the old one is given up after its last answer. If the new one is refused, or if
MLflow does not answer, the old one goes on.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

from components.errors import UserError, one_line
from components.explanation.grad_cam import GradCam
from components.registry.addresses import ADDRESS
from components.registry.versions import find_version
from components.serving.batching import Batcher, build_batcher
from components.serving.model import Model, load
from components.words import name_list

log = logging.getLogger(__name__)

# A version that was refused is tried again after this time: its file may have been repaired.
REFUSED_S = 60.0
CLOSE_S = 5.0  # a thread that waits for MLflow longer than that is left behind at the end
WAIT_S = 0.005  # how long a batch waits for images that are being decoded


@dataclass(eq=False)
class Served:
    """A model that answers requests, and what belongs to it.

    model: the model. batcher: computes its batches. leases: how many requests use it now.
    """

    model: Model
    batcher: Batcher
    leases: int = 0
    _grad_cam: GradCam | None = None
    _lock: Lock = field(default_factory=Lock)

    def grad_cam(self) -> GradCam:
        """Return Grad-CAM for this model, which is built when it is asked for first.

        Raises UserError if the network has no spatial layer.
        """
        with self._lock:
            if self._grad_cam is None:
                self._grad_cam = GradCam(self.model.classifier)
            return self._grad_cam


def serve_model(model: Model) -> Served:
    """Return a model that is ready: compiled, and timed for every size of a batch."""
    return Served(model, build_batcher(model, WAIT_S))


@dataclass(frozen=True)
class _Refused:
    """A version that was refused. at: when, by time.monotonic. text: why."""

    reference: str
    at: float
    text: str


OnSwap = Callable[[Model], None]
OnRefusal = Callable[[str], None]


class Follower:
    """Holds the model of an address, and another one when its alias has moved.

    Only `models:/NAME@ALIAS` can move. A file and a version with a number stay what they are.
    """

    def __init__(self, address: str, place: str) -> None:
        """Load the model. For the arguments and the errors see `load`."""
        self._address, self._place = address, place
        match = ADDRESS.fullmatch(address)
        self._alias = match["alias"] if match else None
        self._current = serve_model(load(address, place))
        self._lock = Lock()
        self._stop = Event()
        self._thread: Thread | None = None
        self._refused = _Refused("", 0.0, "")
        self._trouble = ""
        # Called with the new model after a swap, and with the reason after a refusal.
        self.on_swap: list[OnSwap] = []
        self.on_refusal: list[OnRefusal] = []

    @property
    def trouble(self) -> str:
        """Return why the version that the alias names does not answer; empty if it does."""
        return self._trouble

    @property
    def current(self) -> Served:
        """Return the model that answers now. A request holds it by `lease`."""
        return self._current

    @contextmanager
    def lease(self) -> Iterator[Served]:
        """Yield the model that answers a request. It is not given up before the end."""
        with self._lock:
            served = self._current
            served.leases += 1
        try:
            yield served
        finally:
            with self._lock:
                served.leases -= 1
                last = served is not self._current and not served.leases
            if last:  # An image that nobody waits for may still be computed; this does not wait.
                served.batcher.close()

    def start(self, every_s: float) -> None:
        """Look every `every_s` seconds whether the alias has moved, in a thread, until `close`."""
        if self._alias is None:
            return
        self._thread = Thread(target=self._look_always, args=(every_s,), name="alias", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and compute what waits."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(CLOSE_S)
        self._current.batcher.close()
        self._current.batcher.join()

    def look(self) -> None:
        """If the alias has moved, let the version that it names now answer.

        A version is refused if its file was changed, if Fovea did not write it, or if it has other
        classes, on which the senders of requests do not count.
        """
        match = ADDRESS.fullmatch(self._address)
        if match is None or self._alias is None:
            return
        try:
            version = find_version(match["name"], self._alias)
        except Exception as error:  # MLflow and its store raise errors of many kinds.
            self._say(f"cannot look for a new {self._alias}: {one_line(error)}")
            return
        before = self._current.model.version
        if before is not None and version.reference == before.reference:
            if self._trouble:
                log.info(f"version {version.number} is the {self._alias}, and answers")
            self._trouble = ""
            return
        last = self._refused
        if last.reference == version.reference and time.monotonic() - last.at < REFUSED_S:
            self._say(last.text)
            return
        try:
            model = load(f"models:/{version.name}/{version.number}")
            self._swap(serve_model(self._checked(model)))
        except Exception as error:  # The old model must go on whatever is wrong with the new one.
            text = f"version {version.number} is refused, so the old one goes on: {one_line(error)}"
            self._refused = _Refused(version.reference, time.monotonic(), text)
            self._say(text)
            for hear in self.on_refusal:
                hear(text)

    def _checked(self, model: Model) -> Model:
        old, new = self._current.model.class_names, model.class_names
        if set(old) != set(new):
            raise UserError(
                "it has other classes than the model that answers; start the server again to serve "
                f"it. Received: {name_list(new)}"
            )
        return model

    def _swap(self, new: Served) -> None:
        with self._lock:
            old, self._current = self._current, new
            unused = not old.leases
        if unused:
            old.batcher.close()
        version = new.model.version
        self._trouble = ""
        log.info(f"version {version.number if version else '?'} answers now")
        for hear in self.on_swap:
            hear(new.model)

    def _say(self, text: str) -> None:
        """Log what is wrong, but not again while it stays so."""
        if text != self._trouble:
            log.warning(text)
        self._trouble = text

    def _look_always(self, every_s: float) -> None:
        while not self._stop.wait(every_s):
            self.look()
