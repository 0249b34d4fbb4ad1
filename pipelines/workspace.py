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

LOCK = Path(".fovea/workspace.lock")
DVC_LOCKS = Path(".dvc/tmp")
POLL_S = 0.5
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
        if remove_torn_rwlock(root):
            say("removed the unreadable .dvc/tmp/rwlock of a DVC that was killed")
        _wait(lambda: dvc_holder(root), say)
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


def dvc_holder(root: Path) -> str | None:
    """Return in words which living DVC is running a stage of the repository at `root`, or None."""
    try:
        held = json.loads((root / DVC_LOCKS / "rwlock").read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    readers = [reader for path in held.get("read", {}).values() for reader in path]
    for info in [*held.get("write", {}).values(), *readers]:
        if _lives(info["pid"]):
            return f"`{info['cmd']}` (process {info['pid']})"
    return None


def torn_rwlock(root: Path) -> Path | None:
    """Return DVC's `rwlock` where a killed DVC left it empty or cut off, else None.

    Every later DVC command would fail on it.
    """
    path = root / DVC_LOCKS / "rwlock"
    try:
        json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return path
    return None


def remove_torn_rwlock(root: Path) -> bool:
    """Remove a torn `rwlock`, unless a living DVC is just about to fill it; say whether it went.

    DVC rewrites the file under the guard `rwlock.lock`, so whoever holds that sees no torn file
    but one that a dead process left.
    """
    if torn_rwlock(root) is None:
        return False
    with (root / DVC_LOCKS / "rwlock.lock").open("a") as guard:
        if not _taken(guard.fileno(), fcntl.LOCK_EX):
            return False
        torn = torn_rwlock(root)
        if torn is not None:
            torn.unlink()
        return torn is not None


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


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, alive
        return True
    return True


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
