"""dvc.yaml → the Prefect flow `retrain`: one task run per stage; DVC alone decides what must run.

Prefect starts the flow, repeats failed transfers and shows the task runs. The order of the stages
comes from dvc.yaml, and Prefect caches nothing. So dvc.lock is the same as after `dvc repro`.
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

# The name is written out, because Prefect loads the file of a deployment under another name.
# Prefect shows the lines of this logger in their task run (PREFECT_LOGGING_EXTRA_LOGGERS).
log = logging.getLogger("pipelines.retrain")

# Git tracks these files, and `dvc repro` changes them: data/raw.dvc changes if images are new.
RESULTS = (Path("dvc.lock"), Path("data/raw.dvc"))

# If another DVC runs in a second terminal, DVC waits for it instead of failing after 3 s.
DVC = (*processes.DVC, "--wait-for-lock")
# `dvc remote default` prints this if no default remote is set. It exits with 1 then, and also after
# other errors.
NO_REMOTE = "No default remote set"
# DVC prints this if another DVC works on a file. DVC fails then, even with `--wait-for-lock`.
BUSY = "is being blocked by"
BUSY_TRIES = 5
# Only transfers are repeated, because the network may work again later. A failed stage would fail
# again.
NETWORK_RETRY_DELAYS_S = [10.0, 60.0, 300.0]


@flow(persist_result=False)
def retrain(
    pull: bool = False,
    push: bool = False,
    start_from: Literal["champion"] | None = None,
    branch: str | None = None,
    commit: bool = True,
) -> State[None]:
    """Run every stage of dvc.yaml that must run. Other runs wait for this workspace.

    pull: fetch data and results from the default DVC remote before the first stage.
    push: send data and results to the default DVC remote after the last stage.
    Without a default remote, the log says so, and pull and push are skipped.
    start_from: `champion` writes the champion's version into params.yaml before the first stage.
    branch: with `start_from` and `commit`, the name of a new branch for the commits.
    commit: with `start_from`, commit params.yaml before the stages run, and dvc.lock afterwards.
    Returns Completed, or Failed with a message: the sentence of the failed stage, if it wrote one.
    """
    _log_every_line()
    try:
        stages = read_stages(Path("dvc.yaml"))
        with locks.hold(Path(), f"flow run {flow_run.name}") as lock:
            # These checks are made now, so that an error shows before hours of training.
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


# The tasks return an expected failure. For a raised error Prefect would log a long traceback.
@task(cache_policy=NO_CACHE, persist_result=False)
def repro(stage: str, lock: int) -> State[None]:
    """Let DVC run `stage` and the stages before it, if something changed."""
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
    """Run `dvc pull` or `dvc push` with the default remote."""
    try:
        _dvc(direction, lock=lock)
    except processes.CommandFailedError as error:
        return Failed(message=str(error))
    return Completed()


def read_stages(path: Path) -> tuple[str, ...]:
    """Return the names of the stages in dvc.yaml, in its order.

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
    """Return whether a default DVC remote is set; the log says so if none is set.

    Raises CommandFailedError if DVC fails for another reason.
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
    """Create Prefect's artifacts of the run: a table of metrics, and the verdict with links.

    The links lead to the report and to the MLflow run. Raises UserError if the metrics are missing.
    """
    if not artifacts.VERDICT.is_file():
        return  # This dvc.yaml does not have the stage `register`.
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
    except UserError as error:  # The stages are done, so the flow must not fail without MLflow.
        return f"unknown, since {error}"
    if run is None:
        return f"unknown to {connection.address()}"
    page = f"#/experiments/{experiment}/runs/{run.id}"
    if connection.address().startswith("http"):
        return f"{connection.address().rstrip('/')}/{page}"
    return f"{page} on the page that `fovea ui` opens"


def _run(step: "Task[[str, int], State[None]]", name: str, lock: int) -> None:
    """Run the task `step` with the argument `name`, which is also the name of the task run.

    lock: the file descriptor of the workspace's lock. Raises CommandFailedError if the task failed.
    """
    state = step.with_options(name=name, task_run_name=name)(name, lock, return_state=True)
    if not state.is_completed():
        raise processes.CommandFailedError(f"{name}: {state.message}")


def _dvc(*arguments: str, lock: int) -> None:
    """Run DVC, and send its lines to the log of the run.

    lock: the file descriptor of the workspace's lock, which DVC inherits and so keeps.
    A `dvc repro` in a terminal does not take this lock, so this function waits for it. If such a
    `dvc repro` starts between the waiting and the start of our DVC, this function waits again.
    Raises CommandFailedError if DVC fails, or if other DVCs came first BUSY_TRIES times.
    """
    environment = processes.stage_environment({"FOVEA_FLOW_RUN_ID": str(flow_run.id)})
    for last in [False] * (BUSY_TRIES - 1) + [True]:
        locks.wait_for_dvc(Path())
        try:
            return processes.run([*DVC, *arguments], environment, keep_open=[lock])
        except processes.CommandFailedError as error:
            if last or BUSY not in str(error):
                raise
            log.info("another DVC started first; waiting for it")
    return None


def _start_from_champion(commits: bool) -> None:
    """Write the champion's version into params.yaml, and commit params.yaml if `commits` is true.

    This happens before the stages run, so that `git.dirty` of their runs does not name params.yaml.
    """
    version = write_champion()
    if version is not None and commits:
        message = f"Training starts from version {version.number} of {version.name}, the champion"
        commit_files([PARAMS], message)


def _log_every_line() -> None:
    """Log the lines of the stages (level INFO), unless a level is set. A worker sets no level."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)


if __name__ == "__main__":
    sys.exit("error: `python -m pipelines.retrain` is now `fovea retrain`, with the same options")
