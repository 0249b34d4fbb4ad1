"""A command in a session of its own: its exit status, and what Ctrl-C does."""

import os
import signal
import threading
import time

import pytest

from pipelines.workspace import foreground
from pipelines.workspace.foreground import run_apart


def later(seconds: float, number: int) -> None:
    """Send a signal to this process after so many seconds."""
    threading.Timer(seconds, os.kill, (os.getpid(), number)).start()


@pytest.mark.parametrize("status", [0, 3])
def test_the_exit_status_is_that_of_the_command(status: int) -> None:
    assert run_apart(["sh", "-c", f"exit {status}"]) == status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_ctrl_c_the_command_gets_one_sigint_and_the_status_is_130(number: int) -> None:
    before = signal.getsignal(number)
    later(0.5, number)
    begun = time.monotonic()
    assert run_apart(["sh", "-c", "trap 'exit 0' INT; while :; do sleep 0.1; done"]) == 130
    assert time.monotonic() - begun < foreground.PATIENCE_S
    assert signal.getsignal(number) is before


def test_a_command_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreground, "PATIENCE_S", 0.5)
    later(0.5, signal.SIGINT)
    assert run_apart(["sh", "-c", "trap '' INT; while :; do sleep 0.1; done"]) == 130
