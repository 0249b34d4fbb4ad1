"""A process whose server is gone ends; one whose server answers takes the time that it needs."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LEAVE = """
import atexit, sys, time
from pipelines.workspace import leaving
leaving.PATIENCE_S = 0.2
leaving.leave_without_server(lambda: {answers}, 3, "the server is gone")
print("the work is done", end="")
{rest}
"""


@pytest.mark.parametrize(
    ("answers", "rest", "status", "said"),
    [
        ("False", "time.sleep(60)", 3, "the server is gone\n"),
        ("False", "import threading; threading._register_atexit(time.sleep, 60)", 3,
         "the server is gone\n"),
        ("False", "", 0, ""),
        ("False", "atexit._run_exitfuncs(); time.sleep(0.6)", 0, ""),
        ("True", "time.sleep(0.6)", 0, ""),
    ],
)  # fmt: skip
def test_only_a_process_that_waits_for_a_server_that_is_gone_is_ended(
    answers: str, rest: str, status: int, said: str
) -> None:
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", LEAVE.format(answers=answers, rest=rest)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr, done.stdout) == (status, said, "the work is done")
    assert time.monotonic() - start < 20
