"""Options of `fovea retrain` → one run of the Prefect flow, and its exit status.

The flow runs in a separate session. So Ctrl-C in the terminal does not stop Prefect's temporary
server before the flow has reported its end.
"""

import signal
import sys
from dataclasses import dataclass
from typing import Literal

from components.errors import UserError
from pipelines.workspace.foreground import end_with_parent, run_apart

INTERRUPTED = 130


@dataclass(frozen=True)
class Options:
    """The options of `fovea retrain`. They are the parameters of the flow `retrain`."""

    pull: bool
    push: bool
    start_from: Literal["champion"] | None
    branch: str | None
    commit: bool

    def check(self) -> None:
        """Raise UserError if options contradict each other."""
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
    """Run this command again in a separate session; return the exit status."""
    options.check()
    again = [sys.executable, "-m", "pipelines.commands.fovea", *sys.argv[1:], "--apart"]
    status = run_apart(again)
    if status == INTERRUPTED:
        print("retrain interrupted; run it again to go on", file=sys.stderr)  # noqa: T201
    return status


def start(options: Options) -> int:
    """Run the flow in this process; return the exit status. A failure is printed in a sentence."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # A background shell ignores it.
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
