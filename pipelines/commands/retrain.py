"""`fovea retrain` → the Prefect flow, run now in a process that Ctrl-C does not reach at once."""

import signal
import sys
from dataclasses import dataclass
from typing import Literal

from components.errors import UserError
from pipelines.workspace.foreground import end_with_parent, run_apart

INTERRUPTED = 130


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line; see the parameters of the flow."""

    pull: bool
    push: bool
    start_from: Literal["champion"] | None
    branch: str | None
    commit: bool

    def check(self) -> None:
        """Raise UserError where options contradict each other."""
        if self.start_from is None and (self.branch is not None or not self.commit):
            raise UserError(
                "nothing is committed without `--from champion`, so --branch and --no-commit "
                f"need it. Received: {'--no-commit' if self.branch is None else '--branch'} alone"
            )
        if self.branch is not None and not self.commit:
            raise UserError(
                "a branch is there to commit on; leave --branch or --no-commit away. Received: both"
            )


def start_apart(options: Options) -> int:
    """Run this same command again in a session of its own; return its exit status."""
    options.check()
    again = [sys.executable, "-m", "pipelines.commands.fovea", *sys.argv[1:], "--apart"]
    status = run_apart(again)
    if status == INTERRUPTED:
        print("retrain interrupted; run it again to go on", file=sys.stderr)  # noqa: T201
    return status


def start(options: Options) -> int:
    """Run the flow in this process; a failure ends in one sentence and exit status 1."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below a background shell
    end_with_parent()
    try:
        from pipelines.retrain import retrain

        state = retrain(
            options.pull,
            options.push,
            options.start_from,
            options.branch,
            options.commit,
            return_state=True,
        )
    except KeyboardInterrupt:
        return INTERRUPTED
    if state.is_completed():
        return 0
    print(f"error: {state.message}", file=sys.stderr)  # noqa: T201
    return 1
