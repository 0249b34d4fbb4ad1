"""A command → its output, line by line. At the end, no process of the command still runs."""

import codecs
import io
import logging
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.errors import one_line
from pipelines.workspace.environment import QUIET, direct_loopback

log = logging.getLogger(__name__)

DVC = (sys.executable, "-m", "dvc")
# The signals that end a command, and the seconds to wait after each signal. The sum is less than
# ten seconds, because a cancelled command must end within ten seconds.
PATIENCE_S = ((signal.SIGINT, 6.0), (signal.SIGTERM, 2.0))
POLL_S = 0.05
# A command that has ended may leave a process that keeps the output open. The output is then read
# for this many more seconds.
GRACE_S = 1.0
CHUNK = 65_536  # bytes
LAST_LINES = 12
# DVC ends the message of an error that it does not know with this question and a link.
SUPPORT = "Having any troubles?"
# DVC keeps an index of files here. In many containers, this folder is read-only.
SITE_CACHE = "/var/tmp/dvc"


class CommandFailedError(Exception):
    """A command failed. The message says why.

    The message comes from the last LAST_LINES lines of the output. It is the rest of the last line
    that starts with `error: `. If no line starts with `error: `, it is DVC's reason, if DVC itself
    failed. Otherwise the message has the command, the exit status and these lines.

    status: the exit status; below 0, it is the number of the signal that killed the command.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    say: Callable[[str], None] = log.info,
    keep_open: Sequence[int] = (),
    folder: Path = Path(),
) -> str:
    """Run `command` in a new process group. Call `say` with each line as soon as it is complete.

    Empty lines are left out. Returns the last line, or an empty text if there is none.
    environment: the environment variables of the command.
    keep_open: file descriptors that the command inherits. folder: where the command runs.
    When the first process of the command has ended, the other processes of the group are ended.
    Raises CommandFailedError if the exit status is not 0. If an exception stops this function, for
    example after Ctrl-C, the group gets SIGINT, then SIGTERM, then SIGKILL.
    """
    log.debug(f"runs: {' '.join(command)}")
    last: deque[str] = deque(maxlen=LAST_LINES)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=folder,
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
        raise CommandFailedError(_reason(command, status, last), status)
    return last[-1] if last else ""


def capture(
    *command: str, root: Path = Path(), timeout_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a short command in the folder `root`. Return its exit status, stdout and stderr.

    Raises subprocess.TimeoutExpired if the command runs longer than `timeout_s`.
    """
    log.debug(f"runs: {' '.join(command)}")
    return subprocess.run(
        command,
        cwd=root,
        env=stage_environment({}),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=timeout_s,
    )


def dvc_error(stderr: str) -> str:
    r"""Return why DVC failed, on one line, without the password of an address.

    stderr: the text that DVC wrote to stderr.

    >>> dvc_error("WARNING: old\nERROR: unexpected error - disk full\n\nHaving any troubles? …")
    'disk full'
    """
    text = one_line(stderr, longest=None).partition(SUPPORT)[0].rstrip()
    reason = re.sub(r"^.*?ERROR: (unexpected error - )?", "", text)
    reason = re.sub(r"//[^/@\s]+@", "//", reason)
    if SITE_CACHE not in reason:
        return reason
    return f"{reason}; set DVC_SITE_CACHE_DIR to a folder that you can write"


def stage_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables for a command that runs stages.

    The result has the variables of this process, with these changes:

    - The folder of this process's Python interpreter is first on PATH. So `python` in dvc.yaml is
      this interpreter, even if no virtual environment is activated.
    - The variables of QUIET are added if they are not set.
    - If a proxy is set, NO_PROXY also names this machine.
    - PYTHONUNBUFFERED is set, so that Python does not buffer its output.
    - PYTHONIOENCODING is set, because this module reads the output as UTF-8.
    - The variables in `extra` are added. They replace variables of the same name.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    output = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}
    own = {**os.environ, **direct_loopback(os.environ), "PATH": path, **output}
    return {**QUIET, **own, **extra}


def end_group(process: subprocess.Popen[Any], say: Callable[[str], None] = log.debug) -> None:
    """End every process of the group that `process` leads.

    The group first gets the signals in PATIENCE_S. If a process of the group still runs after them,
    the group is killed.
    say: a function that is called with a message before each signal of PATIENCE_S.
    """
    try:
        for signal_to_send, patience_s in PATIENCE_S:
            if not _alive(process):
                return
            say(f"ending process group {process.pid} with {signal_to_send.name}")
            _signal(process, signal_to_send)
            deadline = time.monotonic() + patience_s
            while _alive(process) and time.monotonic() < deadline:
                time.sleep(POLL_S)
    finally:  # This also runs if a second Ctrl-C interrupts the waiting above.
        _signal(process, signal.SIGKILL)
        process.wait()
        # Other processes of the group may end later than `process`.
        deadline = time.monotonic() + GRACE_S
        while _alive(process) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        if process.stdout is not None:
            process.stdout.close()


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yield the lines that `process` writes.

    A carriage return also ends a line, because progress bars write carriage returns.
    The function stops at the end of the output. If another process keeps the output open, the
    function stops GRACE_S after `process` has ended.
    """
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), True)
    rest = ""  # the start of a line that is not complete yet
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
    process.poll()  # Without this call, `process` would count as running after its end.
    return _signal(process, 0)


def _signal(process: subprocess.Popen[Any], number: int) -> bool:
    """Send a signal to the process group of `process`. Return whether the group has a process.

    number: the number of the signal. With 0 no signal is sent, and the group is only checked.
    The signal is sent to the group and not to each child of `process`. If the parent of a process
    has ended, the process is no longer found as a child, but it is still in the group.
    """
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        # macOS raises PermissionError if all processes of the group are zombies.
        return False
    return True


def _reason(command: Sequence[str], status: int, last: Sequence[str]) -> str:
    errors = [line.removeprefix("error: ") for line in last if line.startswith("error: ")]
    if errors:
        return errors[-1]
    # DVC says that it fails, and why. If a stage has failed, DVC repeats only the stage's command,
    # and the reason is in the lines before.
    by_dvc = [line for line in last if line.startswith("ERROR: ")]
    if by_dvc and "failed to run: " not in by_dvc[-1]:
        return f"DVC: {dvc_error(by_dvc[-1])}"
    return "\n".join([f"`{' '.join(command)}` exited with {status}:", *last])
