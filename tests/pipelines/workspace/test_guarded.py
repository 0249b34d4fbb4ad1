"""A command in a child process that native code may end."""

import os
import signal

import pytest

from components.errors import UserError
from pipelines.workspace.guarded import LOST, run_guarded


def _interrupted() -> int:
    print("epoch 1")
    return 130


def _abort_as_jax() -> int:
    os.write(2, f"F1127 client.h:80] Terminating process because the {LOST}".encode())
    os.abort()


def _run_out_of_memory() -> int:
    os.write(1, b"CUDA error")
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def test_what_the_command_prints_and_returns_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="130"):
        run_guarded(_interrupted)
    assert capfd.readouterr() == ("epoch 1\n", "")


def test_a_child_that_jax_ends_is_one_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    sentence = r"^another machine of the training has ended .*Received: SIGABRT$"
    with pytest.raises(UserError, match=sentence):
        run_guarded(_abort_as_jax)
    assert capfd.readouterr() == ("", "")


def test_a_child_that_ends_for_another_reason_shows_what_native_code_wrote(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UserError, match=r"memory ran out.*Received: SIGKILL$"):
        run_guarded(_run_out_of_memory)
    assert capfd.readouterr() == ("", "CUDA error")
