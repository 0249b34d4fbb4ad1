"""A function and many inputs → its outputs in the same order, computed on all cores.

This module guarantees, for threads and for processes:

- Outputs come in the order of the inputs, even if some inputs take longer than others.
- Memory is bounded. Workers get the inputs in short lists, called handfuls. At most AHEAD handfuls
  per core are in memory. A handful in memory waits for a worker, is being computed, or is finished.
  The outputs of one more handful are in memory while they are yielded to the caller.
- After an error, after Ctrl-C, or if the caller leaves the loop early, workers start no further
  input. All workers have ended when control returns to the caller.
- A worker process ends if its parent process is killed.

Example with two cores and three handfuls `a`, `b` and `c`: `a` and `b` are computed at the same
time. If `b` is finished first, its outputs wait until the outputs of `a` are yielded. During this
wait `c` is computed.
"""

import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from threading import Event, Thread
from typing import Any, TypeVar

from components.errors import UserError
from components.worker_processes import cores, end_with_parent, later_ctrl_c, process_context

A = TypeVar("A")
B = TypeVar("B")
AHEAD = 3  # maximum number of handfuls per core; a larger number needs more memory
# The number of inputs in a handful, for threads and for processes. Processes get larger handfuls,
# because sending a handful to a process takes longer than sending it to a thread. A large handful
# of a process needs little memory, because the functions that run in processes have small outputs.
TO_THREAD, TO_PROCESS = 4, 32
# The time in seconds that worker processes need to start. Shorter work is done without processes.
START_S = 0.3
# In a worker process: the event by which the parent asks the worker to stop. An event cannot be
# sent as an argument of a task, so `_start_worker` stores it here.
_stop: Any = Event()


def in_threads(function: Callable[[A], B], inputs: Iterable[A]) -> Iterator[B]:
    """Yield function(x) for every x in order.

    Use threads if `function` spends its time in long calls that release the GIL (the lock of the
    Python interpreter), such as decoding an image. Other threads run during these calls. Raises the
    errors that `function` raises.

    >>> list(in_threads(len, ["a", "bb", "ccc"]))
    [1, 2, 3]
    """
    stop = Event()

    def work(handful: list[A]) -> list[B]:
        return [function(x) for x in handful if not stop.is_set()]

    yield from _run(ThreadPoolExecutor(cores()), work, inputs, TO_THREAD, stop)


def in_processes(function: Callable[[A], B], inputs: Iterable[A]) -> Iterator[B]:
    """Yield function(x) for every x in order; function, inputs and outputs must be picklable.

    Use processes if `function` does many short steps in Python. Threads would wait for each other,
    because only one thread at a time can run Python code. The outputs of the first inputs are
    computed in this process. Worker processes are started only if the work takes longer than
    START_S and this process may use more than one core.

    Raises UserError if a worker process was killed or has no memory left. Also raises the errors
    that `function` raises.
    """
    remaining = iter(inputs)
    begun_s = time.monotonic()
    for x in remaining:
        yield function(x)
        if time.monotonic() - begun_s > START_S and cores() > 1:
            break
    else:
        return
    context = process_context(_module_of(function))
    stop = context.Event()
    workers = ProcessPoolExecutor(cores(), context, initializer=_start_worker, initargs=(stop,))
    try:
        with workers as pool:  # at its end, all workers have ended
            with later_ctrl_c():
                for start in [pool.submit(int) for _ in range(cores())]:
                    start.result()
            yield from _run(pool, partial(_work, function), remaining, TO_PROCESS, stop)
    except (BrokenProcessPool, MemoryError) as error:
        raise UserError(
            "a worker process was killed, most likely because memory ran out; close other "
            f"programs, or lower ingest.decode.max_pixels. Received: {type(error).__name__}"
        ) from None


def _module_of(function: Callable[..., object]) -> str:
    """Return the name of a function's module; a `partial` counts as the function that it calls."""
    return str(getattr(function, "func", function).__module__)


def _run(
    pool: Executor,
    work: Callable[[list[A]], list[B]],
    inputs: Iterable[A],
    size: int,
    stop: Any,
) -> Iterator[B]:
    """Yield the outputs of `work`. The function `work` gets a list of at most `size` inputs.

    pool: the executor whose workers (threads or processes) call `work`.
    stop: an event that workers check before each input. If the event is set, workers start no
    further input.
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
            # Waiting for the oldest handful keeps the order. The next handful is submitted before
            # the outputs are yielded, so workers have work while the caller uses the outputs.
            outputs = waiting.popleft().result()
            waiting.extend(pool.submit(work, handful) for handful in islice(following, 1))
            yield from outputs
    finally:
        # These lines run at the end, after an error, and if the caller leaves the loop early.
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _work(function: Callable[[A], B], handful: list[A]) -> list[B]:
    return [function(x) for x in handful if not _stop.is_set()]


def _start_worker(stop: Any) -> None:
    """Prepare this worker process. It ignores Ctrl-C, and it ends if its parent process is killed.

    After Ctrl-C, the parent process tells the workers to stop.

    stop: the event that the parent process sets when workers must start no further input.
    """
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=end_with_parent, daemon=True).start()
