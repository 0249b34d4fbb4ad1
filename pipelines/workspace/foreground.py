"""A command → run so that Ctrl-C reaches it alone, and not the servers that it has started.

A terminal sends Ctrl-C to every process of its group. Prefect's temporary server would die of it at
once, and Prefect then wait for minutes to report to the dead server what has happened.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from types import FrameType

POLL_S = 0.1
# Somewhat more than a stage is given to end; after that nothing is asked any more.
PATIENCE_S = 9.5


def end_with_parent() -> None:
    """Press Ctrl-C for this process once the one that started it is gone, killed perhaps."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_S)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def run_apart(command: Sequence[str]) -> int:
    """Run `command` in a session of its own and return its exit status.

    Ctrl-C and SIGTERM reach it as SIGINT, itself alone; PATIENCE_S later its group is killed.
    """
    process = subprocess.Popen(command, start_new_session=True)
    asked: list[float] = []

    def ask(signum: int, frame: FrameType | None) -> None:
        asked.append(time.monotonic())
        process.send_signal(signal.SIGINT)

    before = {how: signal.signal(how, ask) for how in (signal.SIGINT, signal.SIGTERM)}
    try:
        while process.poll() is None:
            time.sleep(POLL_S)
            if asked and time.monotonic() - asked[0] > PATIENCE_S:
                os.killpg(process.pid, signal.SIGKILL)
    finally:
        for how, handler in before.items():
            signal.signal(how, handler)
    return 130 if asked else process.returncode
