"""dvc.yaml → the Prefect flow `retrain`: one task run per stage; DVC alone decides what must run.

Prefect says when, where and how often to try again, and shows it. It knows no order of its own
and caches nothing, so the flow and `dvc repro` leave the same dvc.lock.
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

# By name: the file of a deployment is loaded under another one. Prefect sends these lines to the
# task run that they belong to (PREFECT_LOGGING_EXTRA_LOGGERS).
log = logging.getLogger("pipelines.retrain")

# What the stages change among the files that git tracks: DVC adds new images by itself.
RESULTS = (Path("dvc.lock"), Path("data/raw.dvc"))

# Should another DVC be at work in a second terminal, wait for it instead of failing after 3 s.
DVC = (*processes.DVC, "--wait-for-lock")
# What `dvc remote default` says before it exits with 1, as it does for other reasons, too.
NO_REMOTE = "No default remote set"
# What DVC says of a file that another DVC works on; `--wait-for-lock` does not cover those.
BUSY = "is being blocked by"
BUSY_TRIES = 5
# A network may come back; a stage that failed would only fail again.
NETWORK_RETRY_DELAYS_S = [10.0, 60.0, 300.0]


@flow(persist_result=False)
def retrain(
    pull: bool = False,
    push: bool = False,
    start_from: Literal["champion"] | None = None,
    branch: str | None = None,
    commit: bool = True,
) -> State[None]:
    """Run every stage of dvc.yaml that must run, alone in this workspace.

    pull, push: fetch data and results from the DVC remote before, send them there afterwards. The
    log says so where there is no default remote; then neither is done.
    start_from: write the champion's version into params.yaml first. With `commit` that is
    committed before the stages run, and dvc.lock after them; with `branch` on that new branch.
    Returns Completed, or Failed with one sentence: the failed stage's own, where it has one.
    """
    _log_every_line()
    try:
        stages = read_stages(Path("dvc.yaml"))
        with locks.hold(Path(), f"flow run {flow_run.name}") as lock:
            # What must fail fails now, not after hours of training.
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


# Expected failures are returned, not raised: a raised one fills the log with Prefect's traceback.
@task(cache_policy=NO_CACHE, persist_result=False)
def repro(stage: str, lock: int) -> State[None]:
    """Let DVC run `stage`, and what comes before it, where something changed."""
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
    """`dvc pull` or `dvc push`, with the default remote."""
    try:
        _dvc(direction, lock=lock)
    except processes.CommandFailedError as error:
        return Failed(message=str(error))
    return Completed()


def read_stages(path: Path) -> tuple[str, ...]:
    """Return the names of the stages in dvc.yaml, in its order.

    Raises UserError where there is no such file or it names no stage.
    """
    if not path.is_file():
        raise UserError(f"no dvc.yaml; run from the repository's root. Received: {Path.cwd()}")
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    stages = tree.get("stages") if isinstance(tree, Mapping) else None
    if not isinstance(stages, Mapping) or not stages:
        raise UserError(f"{path} must name stages below `stages:`. Received: {stages!r}")
    return tuple(stages)


def has_remote(lock: int) -> bool:
    """Tell whether `dvc pull` and `dvc push` have somewhere to go; the log says so if not."""
    try:
        _dvc("remote", "default", lock=lock)
    except processes.CommandFailedError as error:
        if NO_REMOTE not in str(error):
            raise
        log.warning(
            "pull and push are skipped, for no default DVC remote is set; "
            "`dvc remote add --default NAME URL` sets one"
        )
        return False
    return True


def show_outcome() -> None:
    """Leave Prefect artifacts: the metrics, and the verdict with links to report and MLflow run."""
    if not artifacts.VERDICT.is_file():
        return  # this dvc.yaml ends before `register`
    metrics = list(outcome.metric_rows(read_tree(artifacts.METRICS)))
    verdict = read_tree(artifacts.VERDICT)
    text = outcome.outcome_markdown(verdict, artifacts.REPORT, mlflow_run())
    create_table_artifact(metrics, key="retrain-metrics", description=text)
    create_markdown_artifact(text, key="retrain-outcome")
    log.info(text)


def mlflow_run() -> str:
    """Return the address of the model's MLflow run, or in words how to come to it."""
    from components.model.model_file import model_id
    from components.tracking import connection, runs

    try:
        run = runs.run_of_model(model_id(artifacts.MODEL))
        experiment = connection.experiment_id()
    except UserError as error:  # the stages are done: the flow does not fail without the store
        return f"unknown, since {error}"
    if run is None:
        return f"unknown to {connection.address()}"
    page = f"#/experiments/{experiment}/runs/{run.id}"
    if connection.address().startswith("http"):
        return f"{connection.address().rstrip('/')}/{page}"
    return f"{page} on the page that `fovea ui` opens"


def _run(step: "Task[[str, int], State[None]]", name: str, lock: int) -> None:
    """Run a task under the name of what it does; raise CommandFailedError where it failed."""
    state = step.with_options(name=name, task_run_name=name)(name, lock, return_state=True)
    if not state.is_completed():
        raise processes.CommandFailedError(f"{name}: {state.message}")


def _dvc(*arguments: str, lock: int) -> None:
    """Run DVC, its lines going to the run's log; the child keeps the workspace locked.

    A `dvc repro` started by hand takes no lock of ours, so it is waited for here, and again where
    it came first in the moment between looking and starting.
    """
    environment = processes.stage_environment({"FOVEA_FLOW_RUN_ID": str(flow_run.id)})
    for last in [False] * (BUSY_TRIES - 1) + [True]:
        locks.wait_for_dvc(Path())
        try:
            return processes.run([*DVC, *arguments], environment, keep_open=[lock])
        except processes.CommandFailedError as error:
            if last or BUSY not in str(error):
                raise
            log.info("another DVC was faster; waiting for it")
    return None


def _start_from_champion(commits: bool) -> None:
    """Write the champion into params.yaml; committed before a stage runs, no run is dirty by it."""
    version = write_champion()
    if version is not None and commits:
        message = f"Training starts from version {version.number} of {version.name}, the champion"
        commit_files([PARAMS], message)


def _log_every_line() -> None:
    """Let the lines of the stages through where nothing else set a level, as below a worker."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)


if __name__ == "__main__":
    sys.exit("error: `python -m pipelines.retrain` is now `fovea retrain`, with the same options")
