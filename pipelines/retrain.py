"""dvc.yaml → the Prefect flow `retrain`, with one task run per stage.

Prefect starts the flow, repeats a failed `dvc pull` or `dvc push`, and shows the task runs. Only
DVC decides which stages run. The flow asks DVC once what has changed. The task run of a stage that
DVC need not look at ends in the state `Unchanged`; DVC runs the others. The order of the stages
comes from dvc.yaml, and Prefect caches nothing. So dvc.lock is the same as after `dvc repro`.

The workspace is the folder of dvc.yaml. The champion is the registered model version with the alias
`champion`.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Completed, Failed
from prefect.tasks import Task

from components.errors import UserError, disk_errors, one_line
from components.params.reader import read_params
from components.tracking.connection import without_password
from pipelines import artifacts, outcome
from pipelines.formats import read_tree
from pipelines.workspace import dvc_files, locks, processes
from pipelines.workspace.addresses import answers, check_server, check_servers
from pipelines.workspace.commits import commit_files, prepare_commits
from pipelines.workspace.dvc_plan import (
    DVC_YAML,
    UP_TO_DATE,
    Plan,
    plan,
    read_stages,
    recorded_outs,
)
from pipelines.workspace.environment import quiet_vendors
from pipelines.workspace.git import GitError, git
from pipelines.workspace.leaving import leave_without_server
from pipelines.workspace.messages import LOGGERS
from pipelines.workspace.params_text import PARAMS
from pipelines.workspace.remote import ask_remote, default_remote
from pipelines.workspace.starting_weights import write_champion

# `__name__` is not used here, because Prefect may load this file as a module with another name.
# Prefect shows the messages of this logger, because the environment variable
# PREFECT_LOGGING_EXTRA_LOGGERS contains `pipelines` (environment.py).
log = logging.getLogger("pipelines.retrain")

# Git tracks these files. `dvc repro` changes dvc.lock. It also changes data/raw.dvc if files in
# data/raw have changed.
RESULTS = (Path("dvc.lock"), Path("data/raw.dvc"))

# With `--wait-for-lock`, DVC waits if another DVC process holds DVC's lock. Without this option,
# DVC would fail after 3 s.
DVC = (*processes.DVC, "--wait-for-lock")
# Only `dvc pull` and `dvc push` are repeated, because the network may work again later. A failed
# stage would fail again.
NETWORK_RETRY_DELAYS_S = [10.0, 60.0, 300.0]


# The stage that writes the model.
TRAIN = "train"
# The name of the state of a stage that did not run.
UNCHANGED = "Unchanged"
# The messages of a stage that a signal ended.
INTERRUPTED = "stopped by Ctrl-C"
TERMINATED = "stopped by SIGTERM"
# A server that answers needs milliseconds. After this time it counts as gone.
SERVER_LIMIT_S = 3.0
# Whether this process runs only this flow, as `fovea retrain` does. Then it may end as soon as the
# stages have ended and Prefect's server is gone. The processes of a Prefect worker have WORKER_RUN.
OWN_PROCESS = ContextVar("OWN_PROCESS", default=False)
WORKER_RUN = "PREFECT__FLOW_RUN_ID"


def _flow_run_name() -> str:
    """Return the day, and the commit if git can tell it, such as `2026-11-26 4013657`."""
    day = f"{datetime.now().astimezone():%Y-%m-%d}"
    try:
        commit = git("rev-parse", "--short", "--verify", "HEAD").stdout.strip()
    except GitError:
        commit = ""
    return f"{day} {commit}".rstrip()


@flow(persist_result=False, flow_run_name=_flow_run_name)
def retrain(
    pull: bool = False,
    push: bool = False,
    start_from: Literal["champion"] | None = None,
    branch: str | None = None,
    commit: bool = True,
) -> State[None]:
    """Let DVC run every stage of dvc.yaml that is not up to date.

    The flow locks the workspace. A second run in the same workspace waits until this flow ends.

    pull: fetch data and results from the default DVC remote before the first stage.
    push: send data and results to the default DVC remote after the last stage.
    If no default remote is set, a warning is logged, and pull and push are skipped.
    start_from: with `champion`, training starts from the champion's weights, and a search with its
    hyperparameters. Both are written into params.yaml before the first stage.
    commit: if true, and if `start_from` is given, commit params.yaml before the stages run, and
    dvc.lock and data/raw.dvc after the stages.
    branch: the name of a new branch for these commits; None means the current branch.
    Returns the Prefect state Completed, Failed or Cancelled. The message of Completed says which
    stages ran. If a stage failed, the message of Failed is the line of its output that starts with
    `error: `. Without such a line, the message is the last lines of its output.
    """
    quiet_vendors()  # A worker of Prefect starts this function without the command `fovea`.
    _log_every_line()
    server = _server()
    state = _retrain(server, pull, push, start_from, branch, commit)
    if OWN_PROCESS.get() or WORKER_RUN in os.environ:
        _leave_without(server, state)
    return state


def exit_status(state: State[Any]) -> int:
    """Return the exit status of a process that ran the flow: 0, 1 after a failure, or 130."""
    return 0 if state.is_completed() else 130 if state.is_cancelled() else 1


def _retrain(
    server: str,
    pull: bool,
    push: bool,
    start_from: Literal["champion"] | None,
    branch: str | None,
    commit: bool,
) -> State[None]:
    """Do what `retrain` promises; server: the address of Prefect's server."""
    try:
        # A mistake is reported now, and not by a stage after hours.
        model = read_params(PARAMS).register_.name
        check_servers(os.environ)
        stages = read_stages(DVC_YAML)
        with disk_errors(), locks.hold(Path(), f"flow run {flow_run.name}") as lock:
            # The next two statements run before the stages, so that an error is reported now and
            # not after hours of training.
            connected = (pull or push) and has_remote()
            commits = commit and start_from is not None and prepare_commits(PARAMS, branch)
            if pull and connected:
                _run(transfer, "pull", lock)
            if start_from is not None:
                _start_from_champion(commits, stages)
            _report(server, lambda: _tag(model))
            ran = walk(plan(stages), stages, lock)
            # The walk writes data/raw.dvc if data/raw has changed.
            _report(server, lambda: _tag(model))
            done = outcome.Done(ran, tuple(stage for stage in stages if stage not in ran))
            show_outcome(done, server)
            if commits:
                commit_files(RESULTS, "What the stages wrote when they ran again")
            if push and connected:
                _run(transfer, "push", lock)
    except (UserError, processes.CommandFailedError) as error:
        return Failed(message=str(error))
    except KeyboardInterrupt:
        return Cancelled(message=INTERRUPTED)
    return Completed(message=done.in_words())


def walk(plan: Plan, stages: tuple[str, ...], lock: int) -> tuple[str, ...]:
    """Let DVC run the steps of `plan` that may have to run. Return the stages that ran.

    stages: the stages of dvc.yaml. Each of them gets a task run. Another step, such as
    data/raw.dvc, gets a task run only if it may have to run.
    lock: the file descriptor of the workspace's lock.
    Raises CommandFailedError if a stage fails.
    """
    ran: list[str] = []
    rewritten: set[str] = set()
    for step in plan.steps:
        if not plan.may_run(step, rewritten):
            if step in stages:
                _run(skip, step, lock)
            continue
        before = recorded_outs(step)
        if _run(repro, step, lock).name == UNCHANGED:
            continue
        ran += [step] if step in stages else []
        outs = recorded_outs(step)
        if outs is None or outs != before:
            rewritten.add(step)
    return tuple(ran)


# The tasks return Failed after an expected failure. If they raised an exception, Prefect would log
# a long traceback. They return Cancelled after a signal. If they raised the signal, Prefect would
# show the stage as crashed.
@task(cache_policy=NO_CACHE, persist_result=False)
def repro(step: str, lock: int) -> State[None]:
    """Run `dvc repro` for one step. DVC does not look at earlier steps.

    The state is Unchanged if DVC finds that the step is up to date.
    lock: the file descriptor of the workspace's lock.
    """
    return _end_state(lambda: _dvc("repro", "--single-item", step, lock=lock))


@task(cache_policy=NO_CACHE, persist_result=False)
def skip(stage: str, lock: int) -> State[None]:
    """Show that a stage is up to date, without starting DVC."""
    return _unchanged()


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(NETWORK_RETRY_DELAYS_S),
    retry_delay_seconds=NETWORK_RETRY_DELAYS_S,
)
def transfer(direction: str, lock: int) -> State[None]:
    """Run `dvc pull` or `dvc push` with the default remote.

    direction: `pull` or `push`. lock: the file descriptor of the workspace's lock.
    """
    return _end_state(lambda: _dvc(direction, lock=lock))


def check_prefect() -> None:
    """Check that Prefect's server answers, if PREFECT_API_URL or Prefect's profile names one.

    Raises UserError if it does not. Without this check, Prefect would wait for two minutes.
    """
    check_server("PREFECT_API_URL", PREFECT_API_URL.value() or "")


def has_remote() -> bool:
    """Return whether a default DVC remote is set. If no default remote is set, log a warning.

    Raises UserError within 15 s if a default remote is set, but cannot be used.
    """
    name = default_remote()
    if not name:
        log.warning(
            "pull and push are skipped, because no default DVC remote is set; "
            "`dvc remote add --default NAME URL` sets one"
        )
        return False
    ask_remote(name)
    return True


def show_outcome(done: outcome.Done, server: str) -> None:
    """Create two Prefect artifacts of the flow run: a text, and a table of metrics.

    The text says which stages ran, and has the verdict and links to the report and the MLflow run.
    If no stage ran, there are no links and no table, because an earlier flow run has them.
    server: the address of Prefect's server.
    Raises UserError if metrics.json is missing although verdict.json exists.
    """
    # dvc.yaml may have no stage `register`.
    verdict = read_tree(artifacts.VERDICT) if artifacts.VERDICT.is_file() else None
    links = mlflow_links() if verdict is not None and done.ran else ()
    text = outcome.outcome_markdown(done, verdict, links)
    metrics = list(outcome.metric_rows(read_tree(artifacts.METRICS))) if links else []
    log.info(text)

    def create() -> None:
        if links:
            create_table_artifact(metrics, key="retrain-metrics", description=text)
        create_markdown_artifact(text, key="retrain-outcome")

    _report(server, create)


def mlflow_links() -> tuple[str, ...]:
    """Return Markdown lines that lead to the model's MLflow run and to the report.

    They are links if MLflow has an http address. Otherwise they say how to find the pages.
    """
    from components.model.model_file import model_id
    from components.tracking import connection, runs

    try:
        run = runs.run_of_model(model_id(artifacts.MODEL))
        experiment = connection.experiment_id()
    except UserError as error:  # All stages have succeeded, so this error must not fail the flow.
        return (f"MLflow run: unknown, because of an error: {error}",)
    if run is None:
        return (f"MLflow run: not found in {connection.address()}",)
    page = f"#/experiments/{experiment}/runs/{run.id}"
    return outcome.links(connection.address(), page, artifacts.REPORT)


def _run(step: "Task[[str, int], State[None]]", name: str, lock: int) -> State[Any]:
    """Run the task `step`, and return its state.

    name: the first argument of the task, and the name of the task run.
    lock: the file descriptor of the workspace's lock.
    Raises CommandFailedError if the task failed. If a signal ended the task, the exception of this
    signal is raised again.
    """
    state = step.with_options(name=name, task_run_name=name)(name, lock, return_state=True)
    if state.is_cancelled():
        raise (
            TerminationSignal(signal.SIGTERM) if state.message == TERMINATED else KeyboardInterrupt
        )
    if not state.is_completed():
        raise processes.CommandFailedError(f"{name}: {state.message}")
    return state


def _end_state(call: Callable[[], bool]) -> State[None]:
    """Call a function that runs DVC, and return the state in which the task ends."""
    try:
        return Completed() if call() else _unchanged()
    except processes.CommandFailedError as error:
        return Failed(message=str(error))
    except KeyboardInterrupt:
        return Cancelled(message=INTERRUPTED)
    except TerminationSignal:
        return Cancelled(message=TERMINATED)


def _unchanged() -> State[None]:
    return Completed(name=UNCHANGED, message="up to date")


def _server() -> str:
    """Return the address of Prefect's server, which may be a temporary one."""
    with get_client(sync_client=True) as client:
        return str(client.api_url)


def _report(server: str, send: Callable[[], None]) -> None:
    """Call a function that sends something to Prefect's server.

    The results of the stages do not need the server. So if it does not answer, this is only logged.
    server: the address of the server. Prefect itself would try for a minute.
    """
    if not answers(server, SERVER_LIMIT_S):
        log.warning(
            f"Prefect's server does not answer any more. Received: {without_password(server)}"
        )
        return
    try:
        send()
    except Exception as error:  # The errors of Prefect and of its HTTP client have no common class.
        reason = one_line(f"{type(error).__name__}: {error}")
        log.warning(f"Prefect's server does not accept a report. Received: {reason}")


def _leave_without(server: str, state: State[None]) -> None:
    """Let this process end within seconds with the state of the stages if the server is gone."""
    failed = f"error: {state.message}\n" if state.is_failed() else ""
    sentence = (
        f"{failed}Prefect's server does not answer any more, so it does not know how this run "
        "ended; all that the stages have written is complete, and the next `fovea retrain` goes on "
        f"from there. Received: {without_password(server)}"
    )
    leave_without_server(lambda: answers(server, SERVER_LIMIT_S), exit_status(state), sentence)


def _tag(model: str) -> None:
    """Tag the flow run with the model's name, and with the start of DVC's hash of data/raw."""
    data = dvc_files.added_outs(dvc_files.read_text(artifacts.RAW.with_name("raw.dvc")))
    tags = [f"model: {model}", *(f"data: {md5[:8]}" for md5 in data.values())]
    others = [tag for tag in flow_run.tags if not tag.startswith(("model: ", "data: "))]
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, tags=[*others, *tags])


def _dvc(*arguments: str, lock: int) -> bool:
    """Run DVC, and log each line that it prints. Return False if DVC says that all is up to date.

    lock: the file descriptor of the workspace's lock. DVC inherits the descriptor, so the workspace
    stays locked until DVC ends.
    Raises CommandFailedError if DVC fails, see `locks.when_dvc_is_free`.
    """
    environment = processes.stage_environment({"FOVEA_FLOW_RUN_ID": str(flow_run.id)})
    command = [*DVC, *arguments]
    last_line = locks.when_dvc_is_free(
        Path(), lambda: processes.run(command, environment, keep_open=[lock])
    )
    return last_line != UP_TO_DATE


def _start_from_champion(commits: bool, stages: tuple[str, ...]) -> None:
    """Write what is from the champion into params.yaml, and commit it if `commits` is true.

    stages: the stages of dvc.yaml.

    This function must be called before the stages run. Otherwise the tag `git.dirty` of the MLflow
    runs would name params.yaml as a file with uncommitted changes.
    """
    version = write_champion(lambda: plan(stages).is_done(TRAIN))
    if version is not None and commits:
        message = f"Training starts from version {version.number} of {version.name}, the champion"
        commit_files([PARAMS], message)


def _log_every_line() -> None:
    """Set the level of Fovea's loggers to INFO, unless another level is set.

    The output of the stages is logged with level INFO. A Prefect worker sets no level of these
    loggers. So without this function the output would not be shown.
    """
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)


if __name__ == "__main__":
    sys.exit("error: `python -m pipelines.retrain` is now `fovea retrain`, with the same options")
