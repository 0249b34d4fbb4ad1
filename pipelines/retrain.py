"""dvc.yaml → the Prefect flow `retrain`, with one task run per stage.

Prefect starts the flow, repeats a failed `dvc pull` or `dvc push`, and shows the task runs. Only
DVC decides which stages run. The order of the stages comes from dvc.yaml, and Prefect caches
nothing. So dvc.lock is the same as after `dvc repro`.

The workspace is the folder of dvc.yaml. The champion is the registered model version with the alias
`champion`.
"""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import yaml
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.tasks import Task

from components.errors import UserError
from pipelines import artifacts, outcome
from pipelines.formats import read_tree
from pipelines.workspace import locks, processes
from pipelines.workspace.commits import commit_files, prepare_commits
from pipelines.workspace.messages import LOGGERS
from pipelines.workspace.params_text import PARAMS
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
# `dvc remote default` prints this text if no default remote is set. The exit status does not show
# the reason, because it is also 1 after other errors.
NO_REMOTE = "No default remote set"
# DVC prints this text and fails if it needs a file that another DVC process uses. The option
# `--wait-for-lock` does not help in this case.
BUSY = "is being blocked by"
BUSY_TRIES = 5
# Only `dvc pull` and `dvc push` are repeated, because the network may work again later. A failed
# stage would fail again.
NETWORK_RETRY_DELAYS_S = [10.0, 60.0, 300.0]


@flow(persist_result=False)
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
    start_from: with `champion`, training starts from the champion's weights. The champion's version
    is written into params.yaml before the first stage.
    commit: if true, and if `start_from` is given, commit params.yaml before the stages run, and
    dvc.lock and data/raw.dvc after the stages.
    branch: the name of a new branch for these commits; None means the current branch.
    Returns the Prefect state Completed or Failed. If a stage failed, the message of Failed is the
    line of its output that starts with `error: `. Without such a line, the message is the last
    lines of its output.
    """
    _log_every_line()
    try:
        stages = read_stages(Path("dvc.yaml"))
        with locks.hold(Path(), f"flow run {flow_run.name}") as lock:
            # The next two statements run before the stages, so that an error is reported now and
            # not after hours of training.
            connected = (pull or push) and has_remote(lock)
            commits = commit and start_from is not None and prepare_commits(PARAMS, branch)
            if pull and connected:
                _run(transfer, "pull", lock)
            if start_from is not None:
                _start_from_champion(commits)
            for stage in stages:
                _run(repro, stage, lock)
            show_outcome()
            if commits:
                commit_files(RESULTS, "What the stages wrote when they ran again")
            if push and connected:
                _run(transfer, "push", lock)
    except (UserError, processes.CommandFailedError) as error:
        return Failed(message=str(error))
    return Completed()


# The tasks `repro` and `transfer` return Failed after an expected failure. If they raised an
# exception, Prefect would log a long traceback.
@task(cache_policy=NO_CACHE, persist_result=False)
def repro(stage: str, lock: int) -> State[None]:
    """Run `dvc repro` for a stage. DVC first runs earlier stages that are not up to date.

    lock: the file descriptor of the workspace's lock.
    """
    try:
        _dvc("repro", stage, lock=lock)
    except processes.CommandFailedError as error:
        return Failed(message=str(error))
    return Completed()


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
    try:
        _dvc(direction, lock=lock)
    except processes.CommandFailedError as error:
        return Failed(message=str(error))
    return Completed()


def read_stages(path: Path) -> tuple[str, ...]:
    """Return the names of the stages in dvc.yaml, in the order of the file.

    Raises UserError if the file is missing, or if it names no stage.
    """
    if not path.is_file():
        raise UserError(f"no dvc.yaml; run from the repository's root. Received: {Path.cwd()}")
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    stages = tree.get("stages") if isinstance(tree, Mapping) else None
    if not isinstance(stages, Mapping) or not stages:
        raise UserError(f"{path} must name stages below `stages:`. Received: {stages!r}")
    return tuple(stages)


def has_remote(lock: int) -> bool:
    """Return whether a default DVC remote is set. If no default remote is set, log a warning.

    lock: the file descriptor of the workspace's lock.
    Raises CommandFailedError if DVC fails for another reason than a missing default remote.
    """
    try:
        _dvc("remote", "default", lock=lock)
    except processes.CommandFailedError as error:
        if NO_REMOTE not in str(error):
            raise
        log.warning(
            "pull and push are skipped, because no default DVC remote is set; "
            "`dvc remote add --default NAME URL` sets one"
        )
        return False
    return True


def show_outcome() -> None:
    """Create two Prefect artifacts of the flow run: a table of metrics and a text with the verdict.

    The text has links to the report and to the MLflow run. Without verdict.json nothing is created.
    Raises UserError if metrics.json is missing.
    """
    if not artifacts.VERDICT.is_file():
        return  # dvc.yaml may have no stage `register`.
    metrics = list(outcome.metric_rows(read_tree(artifacts.METRICS)))
    verdict = read_tree(artifacts.VERDICT)
    text = outcome.outcome_markdown(verdict, artifacts.REPORT, mlflow_run())
    create_table_artifact(metrics, key="retrain-metrics", description=text)
    create_markdown_artifact(text, key="retrain-outcome")
    log.info(text)


def mlflow_run() -> str:
    """Return the address of the model's MLflow run, or words that say how to find the run."""
    from components.model.model_file import model_id
    from components.tracking import connection, runs

    try:
        run = runs.run_of_model(model_id(artifacts.MODEL))
        experiment = connection.experiment_id()
    except UserError as error:  # All stages have succeeded, so this error must not fail the flow.
        return f"unknown, because of an error: {error}"
    if run is None:
        return f"not found in {connection.address()}"
    page = f"#/experiments/{experiment}/runs/{run.id}"
    if connection.address().startswith("http"):
        return f"{connection.address().rstrip('/')}/{page}"
    return f"{page} on MLflow's page, which `fovea ui` serves"


def _run(step: "Task[[str, int], State[None]]", name: str, lock: int) -> None:
    """Run the task `step`. Raises CommandFailedError if the task failed.

    name: the first argument of the task, and the name of the task run.
    lock: the file descriptor of the workspace's lock.
    """
    state = step.with_options(name=name, task_run_name=name)(name, lock, return_state=True)
    if not state.is_completed():
        raise processes.CommandFailedError(f"{name}: {state.message}")


def _dvc(*arguments: str, lock: int) -> None:
    """Run DVC, and log each line that it prints.

    lock: the file descriptor of the workspace's lock. DVC inherits the descriptor, so the workspace
    stays locked until DVC ends.
    A `dvc repro` that a user starts in a terminal does not take this lock. So this function waits
    until no such `dvc repro` runs, and then starts DVC. If a user starts `dvc repro` between these
    two steps, DVC fails and prints the text BUSY. Then this function waits again. It starts DVC at
    most BUSY_TRIES times. Raises CommandFailedError if DVC fails for another reason, or if the last
    try fails.
    """
    environment = processes.stage_environment({"FOVEA_FLOW_RUN_ID": str(flow_run.id)})
    for last in [False] * (BUSY_TRIES - 1) + [True]:
        locks.wait_for_dvc(Path())
        try:
            return processes.run([*DVC, *arguments], environment, keep_open=[lock])
        except processes.CommandFailedError as error:
            if last or BUSY not in str(error):
                raise
            log.info("another DVC process uses the same files; waiting until it ends")
    return None


def _start_from_champion(commits: bool) -> None:
    """Write the champion's version into params.yaml, and commit params.yaml if `commits` is true.

    This function must be called before the stages run. Otherwise the tag `git.dirty` of the MLflow
    runs would name params.yaml as a file with uncommitted changes.
    """
    version = write_champion()
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
