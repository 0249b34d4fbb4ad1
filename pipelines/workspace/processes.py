"""A command → its output line by line; however it ends, none of its processes is left behind."""

import codecs
import io
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.workspace.environment import QUIET

log = logging.getLogger(__name__)

DVC = (sys.executable, "-m", "dvc")
# Together below the ten seconds in which a cancelled run must be gone.
PATIENCE_S = ((signal.SIGINT, 6.0), (signal.SIGTERM, 2.0))
POLL_S = 0.05
# How long output is read after a command has ended, where a process that it left holds it open.
GRACE_S = 1.0
CHUNK = 65_536  # bytes
LAST_LINES = 12


class CommandFailedError(Exception):
    """A command's own `error: …` sentence, or the last lines it wrote and its exit status."""


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    say: Callable[[str], None] = log.info,
    keep_open: Sequence[int] = (),
) -> None:
    """Run `command` in a process group of its own; `say` gets each line as it is written.

    keep_open: file descriptors that the command inherits.
    The command has ended when its first process has; what that left running is ended, too.
    Raises CommandFailedError where the exit status is not 0. On any exception in this process
    (Ctrl-C, SIGTERM turned into one) the group gets SIGINT, then SIGTERM, then SIGKILL.
    """
    log.debug(f"runs: {' '.join(command)}")
    last: deque[str] = deque(maxlen=LAST_LINES)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        pass_fds=keep_open,
        start_new_session=True,
    )
    try:
        for line in filter(None, map(str.rstrip, _lines(process))):
            last.append(line)
            say(line)
        status = process.wait()
    finally:
        end_group(process, say)
    if status != 0:
        raise CommandFailedError(_reason(command, status, last))


def capture(
    *command: str, root: Path = Path(), timeout_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command that ends soon, in the folder `root`; return exit status, stdout and stderr."""
    log.debug(f"runs: {' '.join(command)}")
    return subprocess.run(
        command,
        cwd=root,
        env=stage_environment({}),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
    )


def stage_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process' environment, its interpreter first on PATH and output unbuffered.

    With it `python` in dvc.yaml is the interpreter that runs now, also where no virtual
    environment is activated.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**QUIET, **os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **extra}


def end_group(process: subprocess.Popen[Any], say: Callable[[str], None] = log.debug) -> None:
    """End every process of the group that `process` leads: asked for 8 s at most, then killed."""
    try:
        for signal_to_send, patience_s in PATIENCE_S:
            if not _alive(process):
                return
            say(f"ending process group {process.pid} with {signal_to_send.name}")
            _signal(process, signal_to_send)
            deadline = time.monotonic() + patience_s
            while _alive(process) and time.monotonic() < deadline:
                time.sleep(POLL_S)
    finally:  # also when a second Ctrl-C interrupts the waiting above
        _signal(process, signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + GRACE_S  # the others die a moment later, too
        while _alive(process) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        if process.stdout is not None:
            process.stdout.close()


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yield what `process` writes line by line; a progress bar's carriage returns end lines, too.

    Ends with the output, or GRACE_S after the process where others hold the output open.
    """
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), True)
    rest = ""  # of a line that is not complete yet
    for chunk in _chunks(process):
        *lines, rest = (rest + decoder.decode(chunk)).split("\n")
        yield from lines
    yield rest + decoder.decode(b"", final=True)


def _chunks(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    assert process.stdout is not None
    deadline = float("inf")
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            if process.poll() is not None:
                deadline = min(deadline, time.monotonic() + GRACE_S)
            if selector.select(POLL_S):
                chunk = os.read(process.stdout.fileno(), CHUNK)
                if not chunk:
                    return
                yield chunk


def _alive(process: subprocess.Popen[Any]) -> bool:
    process.poll()  # a leader that ended but was not waited for would count as alive
    return _signal(process, 0)


def _signal(process: subprocess.Popen[Any], number: int) -> bool:
    """Signal the whole group; return whether it still has a process that can be signalled.

    A group, not the tree of children: a process whose parent has ended leaves the tree, but stays
    in the group.
    """
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS: PermissionError where all are zombies
        return False
    return True


def _reason(command: Sequence[str], status: int, last: Sequence[str]) -> str:
    errors = [line.removeprefix("error: ") for line in last if line.startswith("error: ")]
    if errors:
        return errors[-1]
    return "\n".join([f"`{' '.join(command)}` exited with {status}:", *last])
