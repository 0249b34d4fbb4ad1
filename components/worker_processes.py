"""Nothing → processes of `multiprocessing` that start quickly and end with their parent.

This module decides how worker processes start, how many cores they may use, and how they end. It
does not decide what they compute.
"""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, get_context, parent_process, resource_tracker
from threading import current_thread, main_thread
from typing import Any, Literal

# The maximum length of the path of a socket, in bytes: 107 on Linux, 103 on macOS. Then the length
# of the name that multiprocessing gives to a socket, such as /pymp-0123abcd/listener-0123abcd.
SOCKET_PATH_BYTES, SOCKET_NAME_BYTES = 103, 32


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux; a container may have only some of the cores
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def process_context(module: str) -> Any:
    """Return a context of `multiprocessing` with which this process starts worker processes.

    module: the name of the module that the worker processes use. Before a worker starts, this
    module is imported once, and not by each worker.
    The start method "fork" is not used. A fork also copies the locks that other threads hold at the
    moment of the fork. Nothing in the new process would release the copied locks.
    """
    context = get_context(_start_method())
    context.set_forkserver_preload([module])
    if context.get_start_method() == "forkserver":
        with ctrl_c_blocked():
            forkserver.ensure_running()
    return context


@contextmanager
def ctrl_c_blocked() -> Iterator[None]:
    """Start processes in the `with` block. They never get Ctrl-C.

    Otherwise, they would print a traceback after a Ctrl-C while they import modules.
    """
    resource_tracker.ensure_running()  # first, because its start lets Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def later_ctrl_c() -> Iterator[None]:
    """Let a Ctrl-C in the `with` block wait until the end of the block.

    Otherwise, worker processes that have just started would print tracebacks, because this process
    has ended before they could look for it. Only the main thread gets Ctrl-C.
    """
    if current_thread() is not main_thread():
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        signal.raise_signal(signal.SIGINT)


def _start_method() -> Literal["forkserver", "spawn"]:
    """Return how worker processes are started.

    The forkserver is quicker than "spawn", but needs a socket in the folder of temporary files, and
    the path of a socket is short. On clusters, TMPDIR may be longer.
    """
    folder = os.fsencode(tempfile.gettempdir())
    return "forkserver" if len(folder) + SOCKET_NAME_BYTES <= SOCKET_PATH_BYTES else "spawn"


def end_with_parent() -> None:
    """Wait until the parent process has ended, then end this worker process.

    Without this function, the worker would wait forever after its parent was killed. The worker
    reads its inputs from a pipe. The pipe is not closed when the parent ends, because the other
    workers also have the writing end of the pipe open.
    """
    if parent := parent_process():
        parent.join()
    os._exit(1)
