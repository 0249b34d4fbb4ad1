"""A workspace → the one run that may change it; every other run waits, and says who holds it.

DVC's own locks fail after three seconds instead of waiting. This one waits, and since the kernel
holds it (flock), no dead process ever blocks it. Why not filelock: docs/decisions/workspace-lock.md
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
from typing import Any

import psutil

from components.files import is_alive

log = logging.getLogger(__name__)

LOCK = Path(".fovea/workspace.lock")
DVC_LOCKS = Path(".dvc/tmp")
POLL_S = 0.5
# The kernel gives the time of its boot, from which a process' start is counted, in whole seconds.
CLOCK_S = 2.0
REMIND_S = 300.0


@contextmanager
def hold(root: Path, command: str, say: Callable[[str], None] = log.info) -> Iterator[int]:
    """Hold the workspace at `root`, waiting as long as another process does; `say` gets its name.

    command: what this process is, for those who wait for it.
    Yields the lock's file descriptor. A child process that inherits it keeps the workspace locked
    if this process is killed and the child lives on.
    """
    path = root / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file is never deleted: a process that opened it just before would lock a deleted file.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)

    def other_holder() -> str | None:
        return None if _try_lock(descriptor, fcntl.LOCK_EX) else _read_holder(descriptor)

    try:
        _wait(other_holder, say)
        _write_holder(descriptor, command)
        wait_for_dvc(root, say)
        if remove_dead_rwlock(root):
            say("removed .dvc/tmp/rwlock, which a DVC that was killed has left")
        yield descriptor
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def holder(root: Path) -> str | None:
    """Return who holds the workspace at `root` now, in words, or None. Changes nothing."""
    try:
        descriptor = os.open(root / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return None if _try_lock(descriptor, fcntl.LOCK_SH) else _read_holder(descriptor)
    finally:
        os.close(descriptor)


def wait_for_dvc(root: Path, say: Callable[[str], None] = log.info) -> None:
    """Wait until no living DVC runs a stage of the repository at `root`; `say` gets its name."""
    _wait(lambda: dvc_holder(root), say)


def dvc_holder(root: Path) -> str | None:
    """Return in words which living DVC runs a stage of the repository at `root`, or None."""
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
    """Return DVC's `rwlock` where a killed DVC left it so that it stops every later DVC, else None.

    Either it is empty or cut off. Or another process has the number of the dead DVC by now, as
    after the restart of a container: DVC checks no more than whether the number is in use.
    """
    path = root / DVC_LOCKS / "rwlock"
    try:
        number_in_use = any(is_alive(entry["pid"]) for entry in _entries(path))
    except FileNotFoundError:
        return None
    except ValueError:
        return path
    return path if number_in_use and dvc_holder(root) is None else None


def remove_dead_rwlock(root: Path) -> bool:
    """Remove a dead `rwlock`, unless a living DVC writes it just now; return whether it is removed.

    DVC writes the file while it holds `rwlock.lock`. So a torn file, seen by the process that
    holds `rwlock.lock`, is one that a dead process left.
    """
    if dead_rwlock(root) is None:
        return False
    with (root / DVC_LOCKS / "rwlock.lock").open("a") as guard:
        if not _try_lock(guard.fileno(), fcntl.LOCK_EX):
            return False
        dead = dead_rwlock(root)
        if dead is not None:
            dead.unlink()
        return dead is not None


def _wait(who: Callable[[], str | None], say: Callable[[str], None]) -> None:
    """Wait until `who` names no holder. Never blocks: Ctrl-C and a cancelled flow get through."""
    named, named_at = "", 0.0
    while (now := who()) is not None:
        if now != named or time.monotonic() - named_at > REMIND_S:
            named, named_at = now, time.monotonic()
            say(f"waiting for this workspace, held by {now}")
        time.sleep(POLL_S)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _entries(rwlock: Path) -> list[dict[str, Any]]:
    """Return the readers and writers in DVC's `rwlock`. Raises ValueError where it is torn."""
    tree = json.loads(rwlock.read_bytes())
    readers = [reader for path in tree.get("read", {}).values() for reader in path]
    return [*tree.get("write", {}).values(), *readers]


def _is_dvc(pid: int, written_s: float) -> bool:
    """Tell whether process `pid` can be the DVC that is named in a file written at that time.

    A dead DVC's number may belong to another process by now, or to us. written_s: Unix time.
    """
    if pid == os.getpid() or not is_alive(pid):
        return False
    try:
        process = psutil.Process(pid)
        if process.create_time() > written_s + CLOCK_S:
            return False
        command = " ".join(process.cmdline()).lower()
    except psutil.AccessDenied:  # some systems show a command to its user only
        return True
    except psutil.NoSuchProcess:
        return False
    return not command or "dvc" in command or "python" in command  # empty: about to begin


def _write_holder(descriptor: int, command: str) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "command": command, "since": since}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _read_holder(descriptor: int) -> str:
    try:
        by = json.loads(os.pread(descriptor, 4096, 0))
        return f"`{by['command']}` (process {by['pid']} on {by['host']}, since {by['since']})"
    except ValueError:  # the moment between locking the file and writing to it
        return "a run that has just begun"
