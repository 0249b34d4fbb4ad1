"""A process whose work is done, but whose Prefect server is gone → the end of the process.

Prefect reports to its server until the process ends: the last state, the log, and an event for each
state. If the server does not answer, Prefect tries each of them again and again. In Prefect 3.8 the
last state alone takes a minute (client/base.py), each event ten seconds (events/clients.py), and
the end of Python waits for all of them (_internal/concurrency/services.py). The settings of Prefect
do not limit this time. So a thread of this module watches the end of the process.
"""

import atexit
import os
import sys
import threading
from collections.abc import Callable

PATIENCE_S = 8.0


def leave_without_server(answers: Callable[[], bool], status: int, sentence: str) -> None:
    """Let this process end within seconds if Prefect's server does not answer any more.

    Call this when the work is done. The process then ends by itself, usually within two seconds.
    If it still runs after PATIENCE_S seconds, and again every PATIENCE_S seconds, the server is
    asked. If it does not answer, `sentence` is printed, and the process exits with `status`.

    answers: a function that returns whether the server answers.
    """
    over = threading.Event()
    # Prefect has reported everything when Python calls the functions of atexit. Prefect's temporary
    # server ends there, too, and must not count as gone.
    atexit.register(over.set)

    def watch() -> None:
        while not over.wait(PATIENCE_S):
            if not answers() and not over.is_set():
                print(sentence, file=sys.stderr, flush=True)  # noqa: T201
                sys.stdout.flush()
                os._exit(status)  # sys.exit would wait for Prefect

    threading.Thread(target=watch, daemon=True).start()
