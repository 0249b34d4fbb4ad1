"""A search whose workers Prefect starts: a real server, real process workers, two clones."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from components.files import is_alive
from components.search.claims import ATTEMPT, DEATHS, WORKER, Claim
from components.search.trials import TrialStore
from pipelines import artifacts
from pipelines.search_on_prefect import worker_name
from pipelines.search_worker import PLAN
from pipelines.workspace.processes import end_group, stage_environment
from tests.components.search.conftest import postgresql  # noqa: F401 (a fixture)
from tests.pipelines.flow_runs import states
from tests.pipelines.versioned import run

ROOT = Path(__file__).parents[2]
PREFECT = str(Path(sys.executable).with_name("prefect"))
SEARCH = [sys.executable, "-m", "pipelines", "search"]
TRIALS = 24
# With another seed, a search has another name. The database and Prefect's server are those of both
# tests, and would have the trials and the flow runs of the first one.
SEEDS = count(1)
# A worker may be stopped for so long. PostgreSQL ends a transaction that is paused for 10 s.
STOPPED_S = 5.0
TINY = {"trials": TRIALS, "first_rung": 1, "finalists": 0, "sampler": "random"}


class Project:
    """A clone in which a search can run, other clones for its workers, and what they need."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root, self.environment = root, environment
        self.output = root.with_name("search.log")
        self.workers: list[subprocess.Popen[Any]] = []

    def prefect(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [PREFECT, *arguments],
            cwd=self.root,
            env={**self.environment, "PYTHONPATH": str(self.root)},
            capture_output=True,
            text=True,
        )

    def start_worker(self, name: str) -> Path:
        """Start a Prefect worker in a clone of its own, and return the clone."""
        clone = self.root.with_name(name)
        run("git", "clone", "--quiet", str(self.root), str(clone))
        command = [PREFECT, "worker", "start", "--pool", "gpu", "--limit", "1", "--name", name]
        environment = {"PYTHONPATH": str(clone), "PREFECT_WORKER_QUERY_SECONDS": "1"}
        with clone.with_suffix(".log").open("w") as output:
            self.workers.append(
                subprocess.Popen(
                    command,
                    cwd=clone,
                    env={**self.environment, **environment},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
        return clone

    def start_search(self) -> TrialStore:
        """Start the stage, wait until it has asked for workers, and return its trials."""
        with self.output.open("w") as output:
            self.search = subprocess.Popen(
                SEARCH,
                cwd=self.root,
                env={**self.environment, "PYTHONPATH": str(self.root)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.until(lambda: any(map(states, self.studies())))
        (self.study,) = self.studies()
        self.store = TrialStore(self.environment["FOVEA_STUDY_STORAGE"], self.study)
        return self.store

    def studies(self) -> list[str]:
        return [path.parent.name for path in self.root.glob(f".fovea/search/*/{PLAN}")]

    def until(self, holds: Callable[[], Any]) -> Any:
        """Wait until something holds, as long as the search runs, and return it."""
        deadline = time.monotonic() + 240
        while not (value := holds()):
            assert self.search.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.2)
        return value


@pytest.fixture
def project(
    prepared: Any,
    prefect_api: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Project]:
    root = tmp_path_factory.mktemp("machines") / "project"
    shutil.copytree(tmp_path, root)
    for name in ("components", "pipelines", "infra"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", ".gitignore", "data/.gitignore"):
        shutil.copy(ROOT / name, root / name)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["search"] |= {**TINY, "confirm": {"trials": 0, "folds": 3}}
    params["train"]["finetune"]["epochs"] = 2
    params["train"]["seed"] = next(SEEDS)
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    store = root.with_name("store")
    store.mkdir()
    os.chdir(root)
    run("git", "init", "--quiet")
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message", "code")
    address, _ = request.getfixturevalue("postgresql")
    made = Project(
        root,
        stage_environment(
            {
                "PREFECT_API_URL": prefect_api,
                "FOVEA_SEARCH_EXECUTOR": "prefect",
                "FOVEA_SEARCH_WORKERS": "2",
                "FOVEA_STUDY_STORAGE": address,
                "FOVEA_SHARED_STORE": str(store),
            }
        ),
    )
    deploy(made)
    yield made
    for process in [made.search, *made.workers]:
        end_group(process, print)
    made.store.close()


def deploy(project: Project) -> None:
    project.prefect("work-pool", "create", "gpu", "--type", "process")
    done = project.prefect(
        "--no-prompt", "deploy", "--all", "--prefect-file", "infra/search-worker.yaml"
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_two_machines_share_the_trials_and_a_killed_worker_is_replaced(project: Project) -> None:
    clones = [project.start_worker(name) for name in ("one", "two")]
    store = project.start_search()
    first = project.until(store.running)[0].worker
    second = another_worker(project, {first})
    claim = kill_in_a_trial(project, first)
    another_worker(project, {first, second})
    assert project.search.wait(400) == 0, project.output.read_text()
    ended = f"the worker of trial {claim.task.trial} ended: its flow run is Crashed: on "
    assert ended in project.output.read_text()
    trials = store.trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * TRIALS
    assert sum(trial.system_attrs[ATTEMPT] for trial in trials) == TRIALS + 1
    done = {worker_name(run): state for run, state in states(project.study).items()}
    assert workers_of(store) <= done.keys()
    assert done.pop(first) == "CRASHED"
    assert set(done.values()) == {"COMPLETED"}
    for clone in clones:
        assert list(clone.glob(f".fovea/search-worker/*/{artifacts.PLAN}"))
    assert len(pd.read_csv(artifacts.TRIALS)) == TRIALS


@pytest.mark.slow
def test_a_search_waits_for_its_first_worker_and_ctrl_c_ends_all_of_them(project: Project) -> None:
    store = project.start_search()
    project.until(lambda: "start one on a machine: prefect worker" in project.output.read_text())
    project.start_worker("one")
    (claim,) = project.until(store.running)
    worker = process_of(claim.worker)
    os.kill(project.search.pid, signal.SIGINT)
    assert project.search.wait(60) == 130
    deadline = time.monotonic() + 60
    while is_alive(worker) or set(states(project.study).values()) != {"CANCELLED"}:
        assert time.monotonic() < deadline, states(project.study)
        time.sleep(0.5)
    # The trial was given back, if it was not finished just then, which is no death of a worker.
    assert store.running() == []
    trials = store.trials()
    assert trials[claim.number].state.name in ("WAITING", "COMPLETE")
    assert {trial.state.name for trial in trials} >= {"WAITING"}
    assert {trial.system_attrs[DEATHS] for trial in trials} == {0}


def workers_of(store: TrialStore) -> set[str]:
    """Return the workers that have finished a trial."""
    return {row.user_attrs[WORKER] for row in store.trials() if row.state.name == "COMPLETE"}


def another_worker(project: Project, known: set[str]) -> str:
    """Wait until a worker that is not known has finished a trial, and return its name.

    Otherwise the known ones could finish all trials before. So they work only from time to time,
    often enough to be believed alive, and too little to finish many trials.
    """

    def finished_by_another() -> set[str]:
        alive = [process for worker in known if (process := process_of(worker))]
        send(signal.SIGSTOP, alive)
        try:
            deadline = time.monotonic() + STOPPED_S
            while not (others := workers_of(project.store) - known):
                if time.monotonic() > deadline:
                    break
                time.sleep(0.2)
        finally:
            send(signal.SIGCONT, alive)
        return others

    (name,) = project.until(finished_by_another)
    return str(name)


def kill_in_a_trial(project: Project, worker: str) -> Claim:
    """Kill a worker process in the middle of a trial, and return its claim."""

    def kill() -> Claim | None:
        if not (process := process_of(worker)):  # It is being renewed.
            return None
        send(signal.SIGSTOP, [process])
        claims = [claim for claim in project.store.running() if claim.worker == worker]
        send(signal.SIGKILL if claims else signal.SIGCONT, [process])
        return claims[0] if claims else None

    claim: Claim = project.until(kill)
    return claim


def send(number: signal.Signals, processes: list[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def process_of(worker: str) -> int | None:
    """Return the worker process that runs trials, by the arguments of its command.

    None, if there is none now: a worker is a row of processes, one after the other.
    """
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,args="], capture_output=True, text=True
    ).stdout
    lines = [line for line in listed.splitlines() if f"search_worker . {worker} " in line]
    return int(lines[0].split()[0]) if lines else None
