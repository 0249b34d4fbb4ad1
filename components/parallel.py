"""A function and many inputs → its outputs, computed on all cores.

Guaranteed, by threads and by processes alike:

- Outputs come in the order of the inputs, however long single ones take.
- Few inputs are taken ahead of the output that is waited for, so memory is bounded: at most AHEAD
  handfuls for each core, where a handful is what a worker is given at a time.
- After an error, Ctrl-C or an early end of the loop no further input is begun, and the workers have
  ended when control returns.
- A worker process ends when its parent is killed.

With two cores and the inputs a, b, c: both a and b are worked on at once. Should b be done first,
its output waits until that of a was taken, and c begins meanwhile.
"""

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
# Inputs in a handful. Handing one to a process costs more, and what comes back is small.
TO_THREAD, TO_PROCESS = 4, 32
START_S = 0.3  # what processes take to start; work that is done by then needs none
# In a worker process: the parent's event by which it is asked to stop. Arguments of a task cannot
# carry an event, so `_start_worker` puts it here.
_stop: Any = Event()


def in_threads(function: Callable[[A], B], inputs: Iterable[A]) -> Iterator[B]:
    """Yield function(x) for every x in order.

    For work in long steps during which other threads run (which release the GIL), as decoding does.

    >>> list(in_threads(len, ["a", "bb", "ccc"]))
    [1, 2, 3]
    """
    stop = Event()

    def work(handful: list[A]) -> list[B]:
        return [function(x) for x in handful if not stop.is_set()]

    yield from _run(ThreadPoolExecutor(cores()), work, inputs, TO_THREAD, stop)


def in_processes(function: Callable[[A], B], inputs: Iterable[A]) -> Iterator[B]:
    """Yield function(x) for every x in order; function, inputs and outputs must pickle.

    For work in many short steps, in which threads would mostly wait for each other. It begins in
    this process; only what takes longer than processes take to start goes on in them.
    Raises UserError where a process was killed.
    """
    remaining = iter(inputs)
    begun_s = time.monotonic()
    for x in remaining:
        yield function(x)
        if time.monotonic() - begun_s > START_S and cores() > 1:
            break
    else:
        return
    # A plain fork would copy locks that other threads hold at that moment, for ever locked there.
    context = get_context("forkserver")
    context.set_forkserver_preload([_module_of(function)])
    stop = context.Event()
    pool = ProcessPoolExecutor(cores(), context, initializer=_start_worker, initargs=(stop,))
    try:
        yield from _run(pool, partial(_work, function), remaining, TO_PROCESS, stop)
    except (BrokenProcessPool, MemoryError) as error:
        raise UserError(
            "a process that works on images was killed, most likely because memory ran out; free "
            f"some, or lower ingest.decode.max_pixels. Received: {type(error).__name__}"
        ) from None


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux, where a container may have a part of them
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _module_of(function: Callable[..., object]) -> str:
    """Return the module of a function, or of what a `partial` calls."""
    return str(getattr(function, "func", function).__module__)


def _run(
    pool: Executor,
    work: Callable[[list[A]], list[B]],
    inputs: Iterable[A],
    size: int,
    stop: Any,
) -> Iterator[B]:
    """Yield the outputs of `work`, which is given `size` inputs at a time.

    stop: an event that workers look at before each input; once it is set they begin no further one.
    """
    remaining = iter(inputs)

    def handfuls() -> Iterator[list[A]]:
        while handful := list(islice(remaining, size)):
            yield handful

    following = handfuls()
    try:
        waiting: deque[Future[list[B]]] = deque(
            pool.submit(work, handful) for handful in islice(following, cores() * AHEAD)
        )
        while waiting:
            # The oldest first, which keeps the order; a new handful takes its place at once.
            outputs = waiting.popleft().result()
            waiting.extend(pool.submit(work, handful) for handful in islice(following, 1))
            yield from outputs
    finally:
        # Reached at the end, by an error, and when the caller leaves the loop (GeneratorExit).
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _work(function: Callable[[A], B], handful: list[A]) -> list[B]:
    return [function(x) for x in handful if not _stop.is_set()]


def _start_worker(stop: Any) -> None:
    """Leave Ctrl-C to the parent, which sets `stop`, and end when the parent dies."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent was killed.

    It would wait for work for ever: its pipe stays open, as its siblings hold the other end, too.
    """
    if parent := parent_process():
        parent.join()
    os._exit(1)
