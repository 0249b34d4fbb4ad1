"""A workspace → the one run that may change it; every other waits and is told who holds it.

DVC's own locks fail after three seconds instead of waiting. This one waits, and since the kernel
holds it (flock), no dead process ever blocks it.
"""

import fcntl
import json
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

LOCK = Path(".fovea/workspace.lock")
DVC_LOCKS = Path(".dvc/tmp")
POLL_S = 0.5
# The kernel tells when it booted in whole seconds.
CLOCK_S = 2.0
REMIND_S = 300.0


@contextmanager
def locked(root: Path, command: str, say: Callable[[str], None]) -> Iterator[int]:
    """Hold the workspace at `root`, waiting as long as somebody else does; `say` tells who.

    Yields the lock's file descriptor. A child that inherits it keeps the workspace locked should
    this process be killed and the child live on.
    """
    path = root / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file is never deleted: whoever opened it a moment earlier would hold a lock on nothing.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _wait(lambda: None if _taken(descriptor, fcntl.LOCK_EX) else _signature(descriptor), say)
        _sign(descriptor, command)
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
        return None if _taken(descriptor, fcntl.LOCK_SH) else _signature(descriptor)
    finally:
        os.close(descriptor)


def wait_for_dvc(root: Path, say: Callable[[str], None]) -> None:
    """Wait until no living DVC is running a stage of the repository at `root`; say who is."""
    _wait(lambda: dvc_holder(root), say)


def dvc_holder(root: Path) -> str | None:
    """Return in words which living DVC is running a stage of the repository at `root`, or None."""
    path = root / DVC_LOCKS / "rwlock"
    try:
        held, written_s = _entries(path), path.stat().st_mtime
    except (FileNotFoundError, ValueError):
        return None
    for info in held:
        if _is_dvc(info["pid"], written_s):
            return f"`{info['cmd']}` (process {info['pid']})"
    return None


def dead_rwlock(root: Path) -> Path | None:
    """Return DVC's `rwlock` where a killed DVC left it as no later DVC can use it, else None.

    It is empty or cut off, or the number of the dead DVC is that of another process by now, as
    after the restart of a container; DVC itself asks no more than whether the number is in use.
    """
    path = root / DVC_LOCKS / "rwlock"
    try:
        misled = any(is_alive(info["pid"]) for info in _entries(path))
    except FileNotFoundError:
        return None
    except ValueError:
        return path
    return path if misled and dvc_holder(root) is None else None


def remove_dead_rwlock(root: Path) -> bool:
    """Remove a dead `rwlock`, unless a living DVC is just about to write it; say whether it went.

    DVC rewrites the file under the guard `rwlock.lock`, so whoever holds that sees no torn file
    but one that a dead process left.
    """
    if dead_rwlock(root) is None:
        return False
    with (root / DVC_LOCKS / "rwlock.lock").open("a") as guard:
        if not _taken(guard.fileno(), fcntl.LOCK_EX):
            return False
        dead = dead_rwlock(root)
        if dead is not None:
            dead.unlink()
        return dead is not None


def _wait(who: Callable[[], str | None], say: Callable[[str], None]) -> None:
    """Ask until nobody holds it. Never blocks: Ctrl-C and a cancelled flow must get through."""
    told, told_at = "", 0.0
    while (now := who()) is not None:
        if now != told or time.monotonic() - told_at > REMIND_S:
            told, told_at = now, time.monotonic()
            say(f"waiting for this workspace, held by {now}")
        time.sleep(POLL_S)


def _taken(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _entries(rwlock: Path) -> list[dict[str, Any]]:
    """Return who reads and who writes by DVC's `rwlock`. Raises ValueError where it is torn."""
    held = json.loads(rwlock.read_bytes())
    readers = [reader for path in held.get("read", {}).values() for reader in path]
    return [*held.get("write", {}).values(), *readers]


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


def _sign(descriptor: int, command: str) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    signature = {"pid": os.getpid(), "host": socket.gethostname(), "command": command}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({**signature, "since": since}).encode(), 0)


def _signature(descriptor: int) -> str:
    try:
        by = json.loads(os.pread(descriptor, 4096, 0))
        return f"`{by['command']}` (process {by['pid']} on {by['host']}, since {by['since']})"
    except ValueError:  # the instant between taking the lock and signing
        return "a run that has just begun"
