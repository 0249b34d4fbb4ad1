"""A command → its exit status. Ctrl-C reaches only the command, not its child processes.

After Ctrl-C, a terminal sends SIGINT to all processes that run in its foreground. Without this
module, Prefect's temporary server would also get SIGINT and end at once. The flow would then try
for minutes to send reports to this server.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from types import FrameType

POLL_S = 0.1
# A command that still runs this many seconds after Ctrl-C is killed. A stage has 8 s to end after
# Ctrl-C (processes.py).
PATIENCE_S = 9.5


def end_with_parent() -> None:
    """Start a thread that sends SIGINT to this process as soon as its parent process has ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_S)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def run_apart(command: Sequence[str]) -> int:
    """Run `command` in a new session. Return its exit status, or 130 after Ctrl-C or SIGTERM.

    After Ctrl-C or SIGTERM, SIGINT is sent only to the first process of the new session. If the
    first process still runs PATIENCE_S seconds later, its process group is killed.
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
