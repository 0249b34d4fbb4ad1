"""A command → run so that Ctrl-C reaches the command alone, and not the servers it has started.

A terminal sends Ctrl-C to every process of its group. Prefect's temporary server would end at once,
and Prefect would then wait for minutes to report to a server that is gone.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from types import FrameType

POLL_S = 0.1
# A little longer than a stage may take to end; after that everything is killed.
PATIENCE_S = 9.5


def end_with_parent() -> None:
    """Send SIGINT to this process as soon as the process that started it has ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_S)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def run_apart(command: Sequence[str]) -> int:
    """Run `command` in a session of its own and return its exit status.

    Ctrl-C and SIGTERM reach its first process alone, as SIGINT. If it still runs PATIENCE_S later,
    its process group is killed.
    """
    process = subprocess.Popen(command, start_new_session=True)
    interrupted_at: list[float] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupted_at.append(time.monotonic())
        process.send_signal(signal.SIGINT)

    handlers = {
        number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        while process.poll() is None:
            time.sleep(POLL_S)
            if interrupted_at and time.monotonic() - interrupted_at[0] > PATIENCE_S:
                os.killpg(process.pid, signal.SIGKILL)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return 130 if interrupted_at else process.returncode
