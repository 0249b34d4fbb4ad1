"""Options of `fovea retrain` → one run of the Prefect flow, and its exit status.

The flow runs in another process, in its own session of the operating system. Ctrl-C in the terminal
does not reach this session, so Prefect's temporary server keeps running. The process of the command
sends SIGINT only to the process of the flow. So the flow can still report its end to the server.
"""

import os
import signal
import sys
from dataclasses import dataclass
from typing import Literal

from components.errors import UserError
from components.params.reader import read_params
from pipelines.workspace.addresses import check_servers
from pipelines.workspace.commits import can_commit
from pipelines.workspace.dvc_plan import DVC_YAML, check_lock, read_stages
from pipelines.workspace.environment import check_prefect_home, check_user_name
from pipelines.workspace.foreground import end_with_parent, run_apart
from pipelines.workspace.params_text import PARAMS
from pipelines.workspace.remote import check_default_remote

INTERRUPTED = 130


@dataclass(frozen=True)
class Options:
    """The options of `fovea retrain`. Each option is a parameter of the flow `retrain`."""

    pull: bool
    push: bool
    start_from: Literal["champion"] | None
    branch: str | None
    commit: bool

    def check(self) -> None:
        """Raise UserError if two options contradict each other, or if one needs `--from`."""
        given = ["--branch"] * (self.branch is not None) + ["--no-commit"] * (not self.commit)
        if self.start_from is None and given:
            raise UserError(
                "add `--from champion`, or leave out --branch and --no-commit, because nothing is "
                f"committed without `--from champion`. Received: {' and '.join(given)} alone"
            )
        if self.branch is not None and not self.commit:
            raise UserError(
                "leave out --branch or --no-commit, because a branch is only for commits. "
                "Received: both"
            )


def start_apart(options: Options) -> int:
    """Run the same command line in a new session; return the exit status, 130 if interrupted.

    Raises UserError, before the flow starts, if two options contradict each other, if an option
    needs `--from`, if params.yaml, dvc.yaml or dvc.lock has a mistake, if a server of the
    environment variables or the DVC remote for `--pull` and `--push` does not answer, if the user
    has no name, if git cannot commit the champion's version, or if Prefect cannot write its
    database.
    """
    options.check()
    # The flow checks most of this as well, but Prefect needs many seconds to start.
    read_params(PARAMS)
    read_stages(DVC_YAML)
    check_lock()
    check_servers(os.environ)
    check_user_name()
    if options.pull or options.push:
        check_default_remote()
    if options.start_from is not None and options.commit:
        can_commit(PARAMS)
    check_prefect_home()
    again = [sys.executable, "-m", "pipelines.commands.fovea", *sys.argv[1:], "--apart"]
    status = run_apart(again)
    if status == INTERRUPTED:
        print("retraining was interrupted; run `fovea retrain` again to continue", file=sys.stderr)  # noqa: T201
    return status


def start(options: Options) -> int:
    """Run the flow in this process; return the exit status: 0, 1 after a failure, or 130.

    The message of a failure is printed. 130 means that the flow was interrupted.
    Raises UserError if Prefect's profile names a server that does not answer.
    """
    # A process that a shell starts in the background ignores SIGINT. After this line,
    # SIGINT raises KeyboardInterrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_with_parent()
    try:
        from pipelines.retrain import OWN_PROCESS, check_prefect, exit_status, retrain

        check_prefect()
        OWN_PROCESS.set(True)
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
    if state.is_failed():
        print(f"error: {state.message}", file=sys.stderr)  # noqa: T201
    return exit_status(state)
