"""A command → its exit status, in a child process that native code may end at any moment.

If another machine of a training has ended, JAX ends this process, too: with SIGABRT, many lines of
native code, and no way to catch it. So the command runs in a child process, and what native code
writes goes to a file. If the child was ended by a signal, its parent says what happened.
"""

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from threading import Thread

from components.errors import UserError
from components.training.machines import lost_machine
from components.worker_processes import ctrl_c_blocked, end_with_parent

PATIENCE_S = 5  # After Ctrl-C, the child has this long to end.
# JAX writes this before it ends a process, because another process has ended.
LOST = "JAX distributed service detected fatal errors"
LAST = 2_000  # characters of what native code has written


def run_guarded(command: Callable[[], int]) -> None:
    """Run a command in a child process, which also ends if this process is killed.

    command: a function that can be pickled. It returns an exit status.
    Raises SystemExit with an exit status that is not 0. Raises UserError if a signal ended the
    child.
    """
    with tempfile.NamedTemporaryFile() as file:
        child = get_context("spawn").Process(target=_work, args=(command, file.name))
        with ctrl_c_blocked():
            child.start()
        try:
            child.join()
        except KeyboardInterrupt:  # A terminal sends Ctrl-C to the child, too.
            child.join(PATIENCE_S)
            if child.exitcode is None:
                child.kill()
                child.join()
                raise
        status = child.exitcode or 0
        native = Path(file.name).read_text(encoding="utf-8", errors="replace")
    if status < 0:
        name = signal.Signals(-status).name
        if LOST in native:
            raise lost_machine("another machine of the training", name)
        sys.stderr.write(native[-LAST:])
        raise UserError(
            "the training was ended by a signal, most likely because memory ran out; start the "
            "same command again, on every machine: training goes on after the last checkpoint. "
            f"Received: {name}"
        )
    if status:
        raise SystemExit(status)


def _work(command: Callable[[], int], file: str) -> None:
    status = 1
    try:
        Thread(target=end_with_parent, daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        _set_native_output_aside(file)
        status = command()
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        # The usual end of Python would wait for machines that have ended, and then be ended by JAX.
        os._exit(status)


def _set_native_output_aside(file: str) -> None:
    """Let native code write into a file, and Python write where both have written until now."""
    sys.stdout, sys.stderr = (
        os.fdopen(os.dup(number), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
        for number in (1, 2)
    )
    with Path(file).open("ab") as aside:
        for number in (1, 2):
            os.dup2(aside.fileno(), number)
