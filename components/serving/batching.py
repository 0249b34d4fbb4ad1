"""Images of many requests → batches for the network → the probabilities of each image.

One thread computes. While it does, images of other requests wait, and the next batch has all of
them. A batch is begun later than it could be only if further images are being decoded, and at most
by `wait_s`, so a single request never waits for others.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from threading import Condition, Thread

import numpy as np
from numpy.typing import NDArray

from components.images.decoder import Pixels
from components.serving.model import Model

Compute = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
# How often the network is timed for a size of a batch; the shortest time counts.
TIMED = 3
# How many bytes the pixels of all images in work may have, and how many images they may be.
# The time for each image that is nearly the shortest one, in shares of that.
NEARLY = 1.1
WAITING_BYTES = 2**28
MOST_PLACES = 1024


class BusyError(Exception):
    """So many images wait that a further one would wait too long, or memory would run out."""


@dataclass(frozen=True)
class Output:
    """What the network says about one image.

    probabilities: float32 [num_classes]. waited_s: the seconds from the end of its decoding to the
    start of its batch. computed_s: the seconds of its batch. images: how many were in its batch.
    """

    probabilities: NDArray[np.float32]
    waited_s: float
    computed_s: float
    images: int


@dataclass(frozen=True)
class _Waiting:
    pixels: Pixels
    since: float
    future: Future[Output] = field(default_factory=Future)


class Batcher:
    """Computes the images of all requests in batches, in a thread of its own.

    An image takes a place from `reserve` until its output is known, also while it is decoded. So
    the places bound both the memory and the time that an image waits.
    """

    def __init__(
        self,
        compute: Compute,
        seconds: Mapping[int, float],
        places: int,
        wait_s: float,
        any_size: bool = False,
    ) -> None:
        """Start the thread.

        compute: pixels uint8 [N, S, S, 3] → probabilities float32 [N, num_classes]. seconds: size
        of a batch → how long the network needs for it. places: how many images may be in work at
        once. wait_s: how long a batch waits for further images. any_size: whether sizes between
        those of `seconds` are computed as well as these.
        """
        best = best_size if not any_size else best_size_of_any
        self._best = partial(best, dict(seconds))
        self._largest = max(seconds)
        self.places = places
        self._compute, self._wait_s = compute, wait_s
        self._changed = Condition()
        self._queue: deque[_Waiting] = deque()
        self._taken = self._expected = 0
        self._usual = 1  # the images of the last batch
        self._closed = False
        self._thread = Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    @property
    def taken(self) -> int:
        """Return the number of places that are taken."""
        return self._taken

    def is_alive(self) -> bool:
        """Return whether batches are computed."""
        return self._thread.is_alive()

    def reserve(self, count: int) -> None:
        """Take places for images that will now be decoded. Raises BusyError if there are too few.

        For each of them, `submit` or `give_back` must be called.
        """
        with self._changed:
            if self._closed or self._taken + count > self.places:
                raise BusyError
            self._taken += count
            self._expected += count

    def give_back(self, count: int) -> None:
        """Give places back, because their images will not be submitted."""
        with self._changed:
            self._taken -= count
            self._expected -= count
            self._changed.notify_all()

    def submit(self, pixels: Pixels) -> Future[Output]:
        """Return the future output of an image, for which a place was reserved.

        pixels: uint8 [S, S, 3]. If the future is cancelled before its batch starts, the image is
        left out.
        """
        waiting = _Waiting(pixels, time.monotonic())
        with self._changed:
            self._expected -= 1
            self._queue.append(waiting)
            self._changed.notify_all()
        return waiting.future

    def close(self) -> None:
        """End the thread, when all images that wait are computed. No further place is reserved."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until the thread has ended, after `close`, or until `timeout_s` is over."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or (self._closed and not self._expected))
                if not self._queue:
                    return
                self._wait_for_more()
                count = self._best(len(self._queue))
                # The senders of this batch have hardly got their answers when the next one begins.
                # Their next requests come soon, and share a batch only if it waits for them.
                self._usual = min(count, len(self._queue))
                batch = [self._queue.popleft() for _ in range(min(count, len(self._queue)))]
            self._answer(batch)

    def _wait_for_more(self) -> None:
        def enough() -> bool:
            waiting = len(self._queue)
            return waiting >= self._largest or (waiting >= self._usual and not self._expected)

        self._changed.wait_for(enough, timeout=self._wait_s)

    def _answer(self, batch: list[_Waiting]) -> None:
        wanted = [image for image in batch if image.future.set_running_or_notify_cancel()]
        begun = time.monotonic()
        rows: Iterator[NDArray[np.float32]] = iter(())
        failure: Exception | None = None
        try:
            if wanted:
                rows = iter(self._compute(np.stack([image.pixels for image in wanted])))
        except Exception as error:  # every request of the batch must hear of it
            failure = error
        seconds = time.monotonic() - begun
        with self._changed:  # A sender who has the answer finds the place free.
            self._taken -= len(batch)
            self._changed.notify_all()
        for image in wanted:
            if failure is not None:
                image.future.set_exception(failure)
            else:
                output = Output(next(rows), begun - image.since, seconds, len(wanted))
                image.future.set_result(output)


def best_size(seconds: Mapping[int, float], waiting: int) -> int:
    """Return the size of a batch that needs the least time for each image.

    A batch that is not full is filled up with zeros, which take time, too. Of equal sizes, the
    larger one is returned. seconds: size of a batch
    → how long the network needs for it. waiting: how many images wait, at least 1.

    >>> best_size({1: 1.0, 8: 4.0, 32: 12.0}, 3)
    1
    >>> best_size({1: 1.0, 8: 4.0, 32: 12.0}, 9)
    8
    """
    return min(seconds, key=lambda size: (seconds[size] / min(size, waiting), -size))


def best_size_of_any(seconds: Mapping[int, float], waiting: int) -> int:
    """Return the size of the next batch, if no batch is filled up.

    A larger batch than needed lets its first image wait without a gain. So the result is at most
    the smallest size whose time for each image is nearly the shortest one. Size 1 does not count:
    it is never better, but on a busy machine it may seem so. The arguments are those of
    `best_size`.

    >>> best_size_of_any({1: 1.0, 8: 4.0, 32: 16.0}, 5)
    5
    >>> best_size_of_any({1: 1.0, 8: 4.0, 32: 16.0}, 30)
    8
    >>> best_size_of_any({1: 1.0, 8: 9.0, 32: 40.0}, 5)
    5
    >>> best_size_of_any({1: 1.0}, 3)
    1
    """
    each = {size: seconds[size] / size for size in seconds if size > 1} or {1: 0.0}
    shortest = min(each.values())
    return min(waiting, *(size for size in each if each[size] <= NEARLY * shortest))


def build_batcher(model: Model, wait_s: float) -> Batcher:
    """Return the Batcher of a model, whose network is compiled and timed for each size."""
    seconds = {size: _seconds_of(model, size) for size in model.batches}
    fitting = WAITING_BYTES // (3 * model.classifier.size**2)
    places = min(max(fitting, 2 * max(seconds)), MOST_PLACES)
    return Batcher(model.probabilities, seconds, places, wait_s, model.any_size)


def _seconds_of(model: Model, size: int) -> float:
    side, times = model.classifier.size, []
    images = np.zeros((size, side, side, 3), np.uint8)
    for _ in range(1 + TIMED):  # The first call compiles.
        begun = time.perf_counter()
        model.probabilities(images)
        times.append(time.perf_counter() - begun)
    return min(times[1:])
