"""Whether processes that a test started are gone."""

import subprocess


def group_lives(group: int) -> bool:
    """Whether a process group has a member that does more than wait to be reaped."""
    listed = subprocess.run(
        ["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True
    )
    members = [line.split() for line in listed.stdout.splitlines()]
    return any(int(pgid) == group and not state.startswith("Z") for pgid, state in members)
