"""A stream of batches → the batches in order, computed ahead of time in other processes.

A device that trains a small network needs tens of thousands of images per second. One process
cannot read and change that many, so several worker processes compute batches at the same time.
Worker w of W workers computes the batches w, w + W, w + 2 W, … and writes each into a slot, which
is a piece of memory that it shares with this process. So no image is sent through a pipe.

Guarantees:

- The batches are the same for every number of workers, because batch i depends only on the stream
  and on i.
- Memory is bounded: each worker has SLOTS slots, and waits if all of them are full.
- A worker that was killed is started again at the batch that is missing.
- The workers end if this process is killed.
"""

import os
import queue
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from multiprocessing import get_context
from threading import Event, Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.errors import UserError
from components.parallel import cores, end_with_parent
from components.training.batches import Batch, Stream

SLOTS = 3  # of each worker; with 3, a worker can go on while this process copies a slot
CHECK_S = 0.5  # how often a waiting process looks whether the other process is still alive
RESTARTS = 3  # of a worker, for the same batch
VARIABLE = "FOVEA_WORKERS"


def worker_count() -> int:
    """Return the number of worker processes: FOVEA_WORKERS, or all cores but two.

    With 0 workers, a thread of this process computes the batches.
    Raises UserError if FOVEA_WORKERS is not a whole number from 0 up.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return max(0, cores() - 2)
    if not text.isdecimal():
        raise UserError(
            f"{VARIABLE} must be a number of worker processes, 0 or more. Received: {text}"
        )
    return int(text)


class Feed:
    """The batches of a stream, in order. Use it in a `with` statement, which ends the workers.

    waited_s: the time in seconds that the caller has waited for batches until now.
    """

    def __init__(self, stream: Stream, workers: int, start: int = 0) -> None:
        """Start the workers.

        stream: the stream of batches. workers: the number of worker processes; 0 for a thread.
        start: the index of the first batch.
        """
        self.waited_s = 0.0
        self._index = start
        self._source: _Workers | _Ahead = (
            _Workers(stream, workers, start) if workers else _Ahead(stream.batch, start)
        )

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches, from where an earlier iterator stopped. They belong to the caller.

        The iterator ends when the `with` statement ends, because Keras may still wait for a batch
        at that moment.
        Raises UserError if a worker was killed more than RESTARTS times at the same batch. Raises
        RuntimeError, with the message of the worker, if a worker raised an exception.
        """
        while True:
            begun_s = time.perf_counter()
            batch = self._source.take(self._index)
            if batch is None:
                return
            self.waited_s += time.perf_counter() - begun_s
            self._index += 1
            yield batch

    def __enter__(self) -> "Feed":
        """Return the feed itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers."""
        self._source.close()


class _Ahead:
    """A thread of this process that computes the next batches."""

    def __init__(self, batch: Callable[[int], Batch], start: int) -> None:
        self._queue: queue.Queue[Batch | Exception] = queue.Queue(SLOTS)
        self._ended = Event()
        self._thread = Thread(target=self._run, args=[batch, start], daemon=True)
        self._thread.start()

    def take(self, _index: int) -> Batch | None:
        while not self._ended.is_set():
            with suppress(queue.Empty):
                taken = self._queue.get(timeout=CHECK_S)
                if isinstance(taken, Exception):
                    raise taken
                return taken
        return None

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self, batch: Callable[[int], Batch], start: int) -> None:
        for index in count(start):
            try:
                item: Batch | Exception = batch(index)
            except Exception as error:  # `take` raises it in the thread of the caller.
                item = error
            while not self._ended.is_set():
                with suppress(queue.Full):
                    self._queue.put(item, timeout=CHECK_S)
                    break
            if self._ended.is_set() or isinstance(item, Exception):
                return


class _Workers:
    """Worker processes and their slots."""

    def __init__(self, stream: Stream, count: int, start: int) -> None:
        # The start method "fork" is not used, because a fork of a process with threads, as
        # TensorFlow and JAX have, may never get a lock that another thread held.
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload([__name__])
        self._stream = stream
        first = stream.batch(0)  # It also raises the errors of the stream in this process.
        size = sum(part.nbytes for part in first)
        # A RawArray is a file in the memory file system or, if this has too little room, in the
        # folder for temporary files.
        self._memory = [
            [self._context.RawArray("B", size) for _ in range(SLOTS)] for _ in range(count)
        ]
        self._slots = [[_views(slot, first) for slot in slots] for slots in self._memory]
        self._ended = Event()
        self._restarts = (-1, 0)  # batch, number of restarts for this batch
        self._workers = [
            self._start(number, start + (number - start) % count) for number in range(count)
        ]

    def take(self, index: int) -> Batch | None:
        turn, number = divmod(index, len(self._workers))
        while not self._workers[number].ready.acquire(timeout=CHECK_S):
            if self._ended.is_set():
                return None
            if not self._workers[number].process.is_alive():
                self._start_again(number, index)
        inputs, labels, weights = (np.array(part) for part in self._slots[number][turn % SLOTS])
        self._workers[number].free.release()
        return inputs, labels, weights

    def close(self) -> None:
        self._ended.set()
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()

    def _start(self, number: int, first: int) -> "_Worker":
        return _Worker(self._context, self._stream, first, len(self._memory), self._memory[number])

    def _start_again(self, number: int, index: int) -> None:
        dead = self._workers[number]
        if not dead.errors.empty():
            raise RuntimeError(f"a worker process failed: {dead.errors.get()}")
        batch, times = self._restarts
        self._restarts = (index, times + 1 if batch == index else 1)
        if self._restarts[1] > RESTARTS:
            raise UserError(
                f"a worker process that computes training batches was killed {RESTARTS + 1} times, "
                f"most likely because memory ran out; set {VARIABLE} to a smaller number, or lower "
                f"train.batch_size. Received: exit code {dead.process.exitcode}"
            )
        self._workers[number] = self._start(number, index)


class _Worker:
    """A worker process.

    free, ready: semaphores that count the slots that the worker may fill, and the slots that are
    filled. errors: the exception that ended the worker, as text.
    """

    def __init__(self, context: Any, stream: Stream, first: int, step: int, memory: Any) -> None:
        self.free, self.ready = context.Semaphore(SLOTS), context.Semaphore(0)
        self.errors = context.SimpleQueue()
        shared = (memory, self.free, self.ready, self.errors)
        self.process: Any = context.Process(
            target=_work, args=(stream, first, step, *shared), daemon=True
        )
        self.process.start()


def _work(
    stream: Stream, first: int, step: int, memory: Any, free: Any, ready: Any, errors: Any
) -> None:
    """Compute the batches first, first + step, … and write each into a slot."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # After Ctrl-C, the parent ends its workers.
    Thread(target=end_with_parent, daemon=True).start()
    try:
        import cv2

        cv2.setNumThreads(0)  # Each worker has one core.
        slots: list[Batch] = []
        for index in count(first, step):
            batch = stream.batch(index)
            slots = slots or [_views(part, batch) for part in memory]
            free.acquire()
            target: NDArray[Any]
            for target, part in zip(slots[index // step % SLOTS], batch, strict=True):
                target[...] = part
            ready.release()
    except BaseException as error:
        errors.put(f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None


def _views(memory: Any, like: Batch) -> Batch:
    """Return arrays like those of the batch `like`, which lie one after the other in `memory`."""
    start = 0

    def view(part: NDArray[Any]) -> NDArray[Any]:
        nonlocal start
        flat = np.frombuffer(memory, part.dtype, part.size, start)
        start += part.nbytes
        return flat.reshape(part.shape)

    inputs, labels, weights = like
    return view(inputs), view(labels), view(weights)
