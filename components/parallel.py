"""A function and many inputs → its outputs in order, worked on by all cores, few at a time."""

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from multiprocessing import get_context, parent_process
from threading import Event, Thread
from typing import Any, TypeVar

from components.errors import UserError

A = TypeVar("A")
B = TypeVar("B")
AHEAD = 3  # handfuls for each core: enough to keep it busy, few enough to bound the memory
# Inputs handed over at a time. To a process that costs more, and what comes back is small.
TO_THREAD, TO_PROCESS = 4, 32
_ended: Any = Event()  # of a worker process: its parent's
START_S = 0.3  # what processes take to start; work that is done by then needs none


def in_threads(function: Callable[[A], B], inputs: Iterable[A]) -> Iterator[B]:
    """Yield function(x) for every x in order.

    For work in long steps that give way to each other (they release the GIL), as decoding does. On
    an error or Ctrl-C what has not begun is dropped, so the end comes within one input.
    """
    ended = Event()

    def work(handful: list[A]) -> list[B]:
        return [function(x) for x in handful if not ended.is_set()]

    yield from _in_order(ThreadPoolExecutor(cores()), work, inputs, TO_THREAD, ended)


def in_processes(function: Callable[[A], B], inputs: Iterable[A]) -> Iterator[B]:
    """Yield function(x) for every x in order; function, inputs and outputs must pickle.

    For work in many short steps, among which threads would spend their time handing over the GIL.
    Work begins here, and what takes longer than processes take to start goes on in them; they end
    as threads do. Raises UserError where a process was killed.
    """
    remaining = iter(inputs)
    begun_s = time.monotonic()
    for x in remaining:
        yield function(x)
        if time.monotonic() - begun_s > START_S and cores() > 1:
            break
    else:
        return
    context = get_context("forkserver")  # a plain fork would take locks of our threads along
    context.set_forkserver_preload([_home(function)])
    ended = context.Event()
    pool = ProcessPoolExecutor(cores(), context, initializer=_serve, initargs=(ended,))
    try:
        yield from _in_order(pool, partial(_each, function), remaining, TO_PROCESS, ended)
    except (BrokenProcessPool, MemoryError) as error:
        raise UserError(
            "a process that works on images was killed, most likely because memory ran out; free "
            f"some, or lower ingest.decode.max_pixels. Received: {type(error).__name__}"
        ) from None


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _home(function: Callable[..., object]) -> str:
    """Return the module of a function, or of what a `partial` calls."""
    return str(getattr(function, "func", function).__module__)


def _in_order(
    pool: Executor,
    work: Callable[[list[A]], list[B]],
    inputs: Iterable[A],
    size: int,
    ended: Any,
) -> Iterator[B]:
    """Hand out `size` inputs at a time; `ended`, an event, tells workers to drop what is left."""
    remaining = iter(inputs)

    def handfuls() -> Iterator[list[A]]:
        while handful := list(islice(remaining, size)):
            yield handful

    given = handfuls()
    try:
        waiting: deque[Future[list[B]]] = deque(
            pool.submit(work, handful) for handful in islice(given, cores() * AHEAD)
        )
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(pool.submit(work, handful) for handful in islice(given, 1))
            yield from done
    finally:
        ended.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _each(function: Callable[[A], B], handful: list[A]) -> list[B]:
    return [function(x) for x in handful if not _ended.is_set()]


def _serve(ended: Any) -> None:
    """Leave Ctrl-C to the parent, which sets `ended`, and end when the parent dies."""
    global _ended
    _ended = ended
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_outlive_nobody, daemon=True).start()


def _outlive_nobody() -> None:
    """A worker waits for work on a pipe that stays open when its parent was killed."""
    if parent := parent_process():
        parent.join()
    os._exit(1)
