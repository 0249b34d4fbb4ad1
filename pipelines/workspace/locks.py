"""A workspace → a lock, so that only one Fovea command at a time changes the workspace.

A workspace is the folder of dvc.yaml, with its data and results. If DVC's own lock is held, DVC
fails after three seconds. If the lock of this module is held, the next command waits, and logs
which process holds the lock. The kernel manages the lock (flock) and releases it when the process
ends. So a process that has ended never blocks a command. docs/decisions/workspace-lock.md says why
the library filelock is not used.

DVC has a file .dvc/tmp/rwlock. While DVC runs a stage, this file has the numbers of the DVC
processes that read or write a path.
"""

import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import psutil

from components.files import is_alive
from pipelines.workspace.processes import CommandFailedError

log = logging.getLogger(__name__)
Result = TypeVar("Result")

LOCK = Path(".fovea/workspace.lock")
DVC_LOCKS = Path(".dvc/tmp")
POLL_S = 0.5
# psutil's start time of a process can be wrong by this many seconds. The kernel counts the start
# time from the boot of the machine, and gives the boot time in whole seconds.
CLOCK_S = 2.0
# DVC prints this text and fails if it needs a file that another DVC process uses. The option
# `--wait-for-lock` does not help in this case.
BUSY = "is being blocked by"
BUSY_TRIES = 5
REMIND_S = 300.0
EXCLUSIVE, SHARED = fcntl.LOCK_EX, fcntl.LOCK_SH


@contextmanager
def hold(root: Path, command: str, say: Callable[[str], None] = log.info) -> Iterator[int]:
    """Lock the workspace at `root`. Wait while another process has locked it.

    When the workspace is locked, wait until no DVC process runs a stage in the workspace. Remove
    DVC's file .dvc/tmp/rwlock if a killed DVC left it.

    command: a description of this process. Processes that wait for this process show this
    description.
    say: a function that is called with each message. A message says, for example, which process
    this process waits for.
    Yields the file descriptor of the lock. A child process that inherits the descriptor keeps the
    workspace locked, even if this process is killed before the child ends.
    """
    path = root / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    # The lock file is never deleted. Otherwise a process that opened the file before its deletion
    # would lock the deleted file, while another process locks the new file.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)

    def other_holder() -> str | None:
        return None if try_lock(descriptor, EXCLUSIVE) else _read_holder(descriptor)

    try:
        _wait(other_holder, say)
        _write_holder(descriptor, command)
        wait_for_dvc(root, say)
        if remove_dead_rwlock(root):
            say("removed .dvc/tmp/rwlock, which a killed DVC process left")
        yield descriptor
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def holder(root: Path) -> str | None:
    """Return a description of the process that has locked the workspace at `root`, or None."""
    try:
        descriptor = os.open(root / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return None if try_lock(descriptor, SHARED) else _read_holder(descriptor)
    finally:
        os.close(descriptor)


def wait_for_dvc(root: Path, say: Callable[[str], None] = log.info) -> None:
    """Wait until no DVC process runs a stage of the repository at `root`.

    say: a function that is called with a message that names the DVC process.
    """
    _wait(lambda: dvc_holder(root), say)


def when_dvc_is_free(root: Path, run_dvc: Callable[[], Result]) -> Result:
    """Run DVC as soon as no other DVC process runs a stage, and return what `run_dvc` returns.

    A `dvc repro` that a user starts in a terminal does not take the workspace's lock. So this
    function waits until no such `dvc repro` runs, and then calls `run_dvc`. If a user starts
    `dvc repro` between these two steps, DVC fails and prints the text BUSY. Then this function
    waits again. It calls `run_dvc` at most BUSY_TRIES times.
    run_dvc: a function that runs DVC and raises CommandFailedError, with DVC's text, if DVC fails.
    Raises CommandFailedError if DVC fails for another reason, or if the last try fails.
    """
    for last in [False] * (BUSY_TRIES - 1) + [True]:
        wait_for_dvc(root)
        try:
            return run_dvc()
        except CommandFailedError as error:
            if last or BUSY not in str(error):
                raise
            log.info("another DVC process uses the same files; waiting until it ends")
    raise AssertionError("the last try returns or raises")


def dvc_holder(root: Path) -> str | None:
    """Return a description of the DVC process that runs a stage of the repository at `root`.

    Returns None if there is no such process.
    """
    path = root / DVC_LOCKS / "rwlock"
    try:
        entries, written_s = _entries(path), path.stat().st_mtime
    except (FileNotFoundError, ValueError):
        return None
    for entry in entries:
        if _is_dvc(entry["pid"], written_s):
            return f"`{entry['cmd']}` (process {entry['pid']})"
    return None


def dead_rwlock(root: Path) -> Path | None:
    """Return the path of DVC's file `rwlock` if a killed DVC left it and it makes a later DVC fail.

    Returns None otherwise. The file makes a later DVC fail in two cases. In the first case the file
    is empty or incomplete. In the second case another process now has the process number of the
    killed DVC, for example after the restart of a container. Then DVC believes that the killed DVC
    still runs, because DVC compares only the number.

    A running DVC holds the lock `rwlock.lock` while it writes `rwlock`, so such a file is not taken
    for one that was left.
    """
    path = root / DVC_LOCKS / "rwlock"
    if not _looks_dead(path, root):
        return None
    try:
        with path.with_name("rwlock.lock").open("rb") as guard:
            return path if try_lock(guard.fileno(), SHARED) and _looks_dead(path, root) else None
    except FileNotFoundError:  # No DVC writes.
        return path


def _looks_dead(path: Path, root: Path) -> bool:
    try:
        number_in_use = any(is_alive(entry["pid"]) for entry in _entries(path))
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return number_in_use and dvc_holder(root) is None


def remove_dead_rwlock(root: Path) -> bool:
    """Remove a `rwlock` that a killed DVC left. Return whether it was removed.

    If a DVC holds `rwlock.lock`, nothing is removed.
    """
    path = root / DVC_LOCKS / "rwlock"
    if not _looks_dead(path, root):
        return False
    with path.with_name("rwlock.lock").open("a") as guard:
        if not try_lock(guard.fileno(), EXCLUSIVE):
            return False
        dead = _looks_dead(path, root)
        if dead:
            path.unlink()
        return dead


def _wait(who: Callable[[], str | None], say: Callable[[str], None]) -> None:
    """Wait until `who` returns None.

    who: a function that returns a description of the process that uses the workspace; None if no
    process uses it.
    say: a function that is called with a message about this process. It is called at the start,
    when the process changes, and every REMIND_S seconds.
    This function waits in short sleeps, so that Ctrl-C and the cancellation of a flow can end it.
    """
    named, named_at = "", 0.0
    while (now := who()) is not None:
        if now != named or time.monotonic() - named_at > REMIND_S:
            named, named_at = now, time.monotonic()
            say(f"waiting for this workspace, held by {now}")
        time.sleep(POLL_S)


def try_lock(descriptor: int, kind: int) -> bool:
    """Lock an open file, without waiting. Return whether it worked.

    descriptor: the number of the open file; the lock ends when the file is closed. kind: EXCLUSIVE,
    or SHARED, which only fails while another process has an EXCLUSIVE lock.
    """
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _entries(rwlock: Path) -> list[dict[str, Any]]:
    """Return the entries of DVC's file `rwlock`: the number and command of each DVC process.

    Raises FileNotFoundError if the file is missing, ValueError if it is empty or incomplete.
    """
    tree = json.loads(rwlock.read_bytes())
    readers = [reader for path in tree.get("read", {}).values() for reader in path]
    return [*tree.get("write", {}).values(), *readers]


def _is_dvc(pid: int, written_s: float) -> bool:
    """Return whether the process with the number `pid` can be the DVC that wrote `pid` to `rwlock`.

    written_s: the time at which `rwlock` was written, in seconds (Unix time).
    If this DVC has ended, another process may now have its number, even the current process.
    """
    if pid == os.getpid() or not is_alive(pid):
        return False
    try:
        process = psutil.Process(pid)
        if process.create_time() > written_s + CLOCK_S:
            return False
        command = " ".join(process.cmdline()).lower()
    except psutil.AccessDenied:  # Some systems show the command of a process only to its owner.
        return True
    except psutil.NoSuchProcess:
        return False
    # A process that has just started can have an empty command.
    return not command or "dvc" in command or "python" in command


def _write_holder(descriptor: int, command: str) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "command": command, "since": since}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _read_holder(descriptor: int) -> str:
    try:
        by = json.loads(os.pread(descriptor, 4096, 0))
        return f"`{by['command']}` (process {by['pid']} on {by['host']}, since {by['since']})"
    except ValueError:  # The process that locked the file has not written to it yet.
        return "a process that has just started"
