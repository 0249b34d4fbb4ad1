"""A function and many inputs → its outputs in order, worked on by all cores, few at a time."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Event
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")
AHEAD = 3  # handfuls for each core: enough to keep it busy, few enough to bound the memory
HANDFUL = 8  # inputs that a thread takes at a time, so that handing over costs next to nothing


def in_threads(function: Callable[[A], B], inputs: Iterable[A]) -> Iterator[B]:
    """Yield function(x) for every x in order.

    Threads suffice because decoding, hashing and reading give way to each other (they release the
    GIL). On an error or Ctrl-C what has not begun is dropped, so the end comes within one input.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = cores or 1
    remaining = iter(inputs)
    ended = Event()

    def work(handful: list[A]) -> list[B]:
        return [function(x) for x in handful if not ended.is_set()]

    def handfuls() -> Iterator[list[A]]:
        while handful := list(islice(remaining, HANDFUL)):
            yield handful

    given = handfuls()
    pool = ThreadPoolExecutor(workers)
    try:
        waiting: deque[Future[list[B]]] = deque(
            pool.submit(work, handful) for handful in islice(given, workers * AHEAD)
        )
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(pool.submit(work, handful) for handful in islice(given, 1))
            yield from done
    finally:
        ended.set()
        pool.shutdown(wait=True, cancel_futures=True)
