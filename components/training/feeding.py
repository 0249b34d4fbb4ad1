"""A stream of batches → the batches in order, computed ahead of time in other processes.

A device that trains a small network needs tens of thousands of images per second. One process
cannot read and change that many, so several worker processes compute batches at the same time.
With W workers, worker w computes every batch i with i % W = w, and writes it into a slot. A slot is
a piece of memory that the worker shares with this process. So no image is sent through a pipe.

Guarantees:

- The batches are the same for every number of workers, because batch i depends only on the stream
  and on i.
- Memory is bounded: each worker has SLOTS slots, and waits if all of them are full.
- A worker that was killed is started again at the batch that is missing.
- The workers end with the `with` statement, and also if this process is killed.

Example with two workers and three slots each: worker 0 computes the batches 0, 2 and 4, and waits.
When this process has copied batch 0 out of its slot, worker 0 computes batch 6 into the same slot.
"""

import os
import pickle
import re
import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from itertools import count
from math import prod
from multiprocessing.heap import Arena
from threading import Lock, Thread
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from components.errors import HyperparameterError, UserError
from components.training.batches import Batch, Batches
from components.worker_processes import cores, ctrl_c_blocked, end_with_parent, process_context

SLOTS = 3  # of each worker; with 3, a worker can go on while this process copies a slot
CHECK_S = 0.2  # how often a waiting process looks whether the other process is still alive
RESTARTS = 3  # of a worker, for the same batch
MOST_WORKERS = 16  # without FOVEA_WORKERS; 8 workers are enough for one H200
VARIABLE = "FOVEA_WORKERS"
SHARED_FOLDER = "/dev/shm"  # the file system in memory of Linux
ALIGNMENT = 64  # each array in a slot starts at a multiple of this number of bytes
BLOCK = 1 << 20


def worker_count(environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of worker processes: FOVEA_WORKERS, or all cores but two, at most 16.

    environment: the environment variables.
    With 0 workers, a thread of this process computes the batches.
    Raises UserError if FOVEA_WORKERS is not a whole number from 0 to 999.
    """
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return min(MOST_WORKERS, max(0, cores() - 2))
    if not re.fullmatch("[0-9]{1,3}", text):  # A thousand processes would stop most machines.
        raise UserError(
            f"the environment variable {VARIABLE} must be the number of worker processes that "
            f"compute training batches, 0 to 999; correct it, or unset it. Received: {text}"
        )
    return int(text)


class Feed:
    """The batches of a stream, in order. Use it in a `with` statement, which ends the workers.

    waited_s: the time in seconds that the caller has waited for batches until now.
    """

    def __init__(self, stream: Batches, workers: int, start: int = 0) -> None:
        """Start the workers.

        stream: the stream of batches. workers: the number of worker processes; 0 for a thread.
        start: the index of the first batch.
        Raises UserError if there is too little room for the memory that processes share.
        """
        self.waited_s = 0.0
        self._index = start
        self._error: Exception | None = None
        self._source: _Workers | _Ahead = (
            _Workers(stream, workers, start) if workers else _Ahead(stream.batch, start)
        )

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches, from where an earlier iterator stopped. They belong to the caller.

        The iterator ends when the `with` statement ends, because Keras may still wait for a batch
        at that moment.
        Raises UserError if a worker was killed more than RESTARTS times at the same batch. Raises
        the exception with which the computation of a batch ended.
        """
        while True:
            begun_s = time.perf_counter()
            try:
                batch = self._source.take(self._index)
            except Exception as error:
                self._error = error
                raise
            if batch is None:
                return
            self.waited_s += time.perf_counter() - begun_s
            self._index += 1
            yield batch

    def __enter__(self) -> "Feed":
        """Return the feed itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the workers.

        TensorFlow replaces an exception of the iterator by one of its own, which has a traceback in
        its text. Then this method raises the exception of the iterator.
        """
        self._source.close()
        if self._error is not None and isinstance(error, Exception) and error is not self._error:
            raise self._error from None


class _Ahead:
    """A thread of this process that computes the next batches."""

    def __init__(self, batch: Callable[[int], Batch], start: int) -> None:
        self._batch = batch
        self._pool = ThreadPoolExecutor(1)
        self._next: deque[Future[Batch]] = deque(
            self._pool.submit(batch, index) for index in range(start, start + SLOTS)
        )

    def take(self, index: int) -> Batch | None:
        taken = self._next.popleft()
        try:
            self._next.append(self._pool.submit(self._batch, index + SLOTS))
        except RuntimeError:  # `close` was called.
            return None
        try:
            return taken.result()
        except CancelledError:
            return None

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


class _Workers:
    """Worker processes and their slots."""

    def __init__(self, stream: Batches, workers: int, start: int) -> None:
        self._context = process_context(__name__)
        self._stream = stream
        first = stream.batch(start)  # It also raises the errors of the stream in this process.
        size = workers * SLOTS * _slot_bytes(first)
        self._file = _reserve(size, workers)
        self._arena = Arena(size, self._file.fileno())
        self._slots = _slots(self._arena, first, workers)
        self._lock = Lock()  # `take` and `close` may be called by two threads.
        self._closed = False
        self._restarts = (-1, 0)  # batch, number of restarts for this batch
        self._workers: list[_Worker] = []
        try:
            for number in range(workers):
                self._workers.append(self._start(start + (number - start) % workers, workers))
        except BaseException:  # a Ctrl-C, too
            self.close()
            raise

    def take(self, index: int) -> Batch | None:
        turn, number = divmod(index, len(self._workers))
        while True:
            ready = self._workers[number].ready.acquire(timeout=CHECK_S)
            with self._lock:
                if self._closed:
                    return None
                if ready:
                    return self._copy(number, turn % SLOTS)
                if self._workers[number].ended:
                    self._start_again(number, index)

    def _copy(self, number: int, slot: int) -> Batch:
        inputs, labels, weights = (np.array(part) for part in self._slots[number][slot])
        self._workers[number].free.release()
        return inputs, labels, weights

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for worker in self._workers:
                worker.process.kill()
            for worker in self._workers:
                worker.process.join()
            self._file.close()
            del self._slots, self._arena  # the last references to the shared memory

    def _start(self, first: int, workers: int) -> "_Worker":
        return _Worker(self._context, self._stream, self._arena, first, workers)

    def _start_again(self, number: int, index: int) -> None:
        dead = self._workers[number]
        if not dead.errors.empty():
            raise pickle.loads(dead.errors.get())
        batch, times = self._restarts
        self._restarts = (index, times + 1 if batch == index else 1)
        if self._restarts[1] > RESTARTS:
            raise HyperparameterError(
                f"a worker process that computes training batches was killed {RESTARTS + 1} times, "
                f"most likely because memory ran out; set {VARIABLE} to a smaller number, or lower "
                f"train.batch_size. Received: exit code {dead.process.exitcode}",
                "train.batch_size",
            )
        self._workers[number] = self._start(index, len(self._workers))


class _Worker:
    """A worker process.

    free, ready: semaphores that count the slots that the worker may fill, and the slots that are
    filled. errors: the exception that ended the worker, as bytes of pickle.
    """

    def __init__(self, context: Any, stream: Batches, arena: Arena, first: int, workers: int):
        try:
            self.free, self.ready = context.Semaphore(SLOTS), context.Semaphore(0)
            self.errors = context.SimpleQueue()
        except OSError as error:
            raise UserError(
                f"a worker process cannot start, because it needs some bytes in {SHARED_FOLDER}; "
                f"make room there (`docker run --shm-size`), or set {VARIABLE}=0. "
                f"Received: {error.strerror}"
            ) from None
        shared = (arena, self.free, self.ready, self.errors)
        self.process: Any = context.Process(
            target=_work, args=(stream, first, workers, *shared), daemon=True
        )
        with ctrl_c_blocked():  # After Ctrl-C, the parent ends its workers.
            self.process.start()

    @property
    def ended(self) -> bool:
        """Return whether the worker computes no more batches.

        A worker with a long error ends only when the error is read: a pipe holds 64 kB.
        """
        return not self.process.is_alive() or not self.errors.empty()


def _work(
    stream: Batches, first: int, workers: int, arena: Arena, free: Any, ready: Any, errors: Any
) -> None:
    """Compute the batches first, first + workers, … and write each into a slot."""
    Thread(target=end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        import cv2

        cv2.setNumThreads(0)  # Each worker has one core.
        slots: list[Batch] = []
        for index in count(first, workers):
            batch = stream.batch(index)
            turn, number = divmod(index, workers)
            slots = slots or _slots(arena, batch, workers)[number]
            free.acquire()
            targets: tuple[NDArray[Any], ...] = slots[turn % SLOTS]
            for target, part in zip(targets, batch, strict=True):
                target[...] = part
            ready.release()
    except Exception as error:
        errors.put(_pickled(error))
        raise SystemExit(1) from None


def _pickled(error: Exception) -> bytes:
    """Return the exception as bytes; as a RuntimeError, if it cannot be sent to a process."""
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:
        text = f"a worker process failed. Received: {type(error).__name__}: {error}"
        return pickle.dumps(RuntimeError(text))
    return data


def _reserve(size: int, workers: int) -> IO[bytes]:
    """Return a file of `size` bytes without a name: in memory, or in the folder of temporary files.

    In a container, the file system in memory often has only 64 MB.
    Raises UserError if neither folder has enough room.
    """
    rooms = []
    for folder in filter(os.path.isdir, (SHARED_FOLDER, tempfile.gettempdir())):
        free = shutil.disk_usage(folder).free
        if free >= size and (file := _zeros(folder, size)):
            return file
        rooms.append(f"{free / 1e6:.0f} MB in {folder}")
    raise HyperparameterError(
        f"{workers} worker processes need {size / 1e6:.0f} MB of memory that they share, and there "
        f"is too little; give the container more (`docker run --shm-size`), set {VARIABLE} to a "
        "smaller number (0 for no worker processes), or lower train.batch_size. Received: "
        f"{' and '.join(rooms)}",
        "train.batch_size",
    )


def _zeros(folder: str, size: int) -> IO[bytes] | None:
    """Return a file of `size` zeros, or None if the folder has too little room or is read-only.

    The zeros are written, because the system kills a process that changes a mapped part of a file
    for which there is no room.
    """
    try:
        file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - `close` closes it.
    except OSError:  # The folder may not be written.
        return None
    try:
        for written in range(0, size, BLOCK):
            file.write(bytes(min(BLOCK, size - written)))
    except OSError:
        file.close()
        return None
    return file


def _slots(arena: Arena, like: Batch, workers: int) -> list[list[Batch]]:
    """Return the slots of each worker: arrays like those of the batch `like`, in shared memory."""
    size = _slot_bytes(like)
    return [
        [_slot(arena, like, (number * SLOTS + turn) * size) for turn in range(SLOTS)]
        for number in range(workers)
    ]


def _slot(arena: Arena, like: Batch, start: int) -> Batch:
    def view(part: NDArray[Any]) -> NDArray[Any]:
        nonlocal start
        flat = np.frombuffer(arena.buffer, part.dtype, prod(part.shape), start)
        start += _aligned(part.nbytes)
        return flat.reshape(part.shape)

    inputs, labels, weights = like
    return view(inputs), view(labels), view(weights)


def _slot_bytes(like: Batch) -> int:
    return sum(_aligned(part.nbytes) for part in like)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
