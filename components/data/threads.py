"""A function and many inputs → its outputs in order, worked on by all cores, few at a time."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")
AHEAD = 4  # inputs in hand for each core: enough to keep it busy, few enough to bound the memory


def in_threads(function: Callable[[A], B], inputs: Iterable[A]) -> Iterator[B]:
    """Yield function(x) for every x in order.

    Threads suffice because Pillow, hashing and reading give way to each other (they release the
    GIL). On an error or Ctrl-C what has not begun is dropped, so the end comes within one input.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = cores or 1
    remaining = iter(inputs)
    pool = ThreadPoolExecutor(workers)
    try:
        waiting: deque[Future[B]] = deque(
            pool.submit(function, x) for x in islice(remaining, workers * AHEAD)
        )
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(pool.submit(function, x) for x in islice(remaining, 1))
            yield done
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
