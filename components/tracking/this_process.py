"""This machine, a process → texts that stay the same while they run, and that no other one has.

The process of a run can be looked up later by these texts, to find out whether it has ended. A
wrong answer would end the run of a process that still works. So the name of the machine and the
number of the process are not enough: two machines can have the same name, two containers on a
machine have the same numbers, and a number is used again after the end of its process.
"""

import uuid
from functools import cache
from pathlib import Path

import psutil

from components.files import is_alive

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # a random number for each start of Linux
PID_NAMESPACE = Path("/proc/self/ns/pid")  # a container has its own numbers of processes
START_FIELD = 22  # of /proc/<pid>/stat: the time of the start, in ticks since the start of Linux


@cache
def machine() -> str:
    """Return a text that names this start of this machine, and on Linux also the container."""
    if BOOT_ID.exists():
        return f"{BOOT_ID.read_text(encoding='ascii').strip()} {PID_NAMESPACE.readlink()}"
    return f"{uuid.getnode():x} {psutil.boot_time():.0f}"


def started(pid: int) -> str:
    """Return a text that names the start time of a process; empty if there is no such process.

    On Linux the time is counted from the start of the machine, because the clock may be changed.
    """
    try:
        if BOOT_ID.exists():
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
            # The second field is the name of the program in parentheses. It may contain spaces.
            return stat.rpartition(")")[2].split()[START_FIELD - 3]
        return str(psutil.Process(pid).create_time())
    except (OSError, psutil.Error):
        return ""


def ended_since(process: str) -> bool:
    """Return whether a process of this machine has surely ended.

    process: the number of the process, a space, and what `started` returned while it ran. If the
    text has another form, the result is False.
    """
    pid, _, start = process.partition(" ")
    if not pid.isdecimal() or not start:
        return False
    return not is_alive(int(pid)) or started(int(pid)) not in ("", start)
