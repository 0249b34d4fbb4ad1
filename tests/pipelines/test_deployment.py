"""infra/prefect.yaml on a real server with a real worker, as infra/README.md says."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.workspace.processes import end_group
from tests.cards import DIGITS
from tests.pipelines.processes import group_lives

ROOT = Path(__file__).parents[2]
PREFECT = str(Path(sys.executable).with_name("prefect"))
STAGES = """
  train:
    cmd: python -c "import os; print(os.getpgrp(), file=open('group', 'w'))" && sleep 600
    outs: [model]
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def deployed(
    workspace_of: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """A workspace with a server, a worker, and the deployment `weekly`, all ended afterwards."""
    root = workspace_of(STAGES)
    for name in ("components", "pipelines", "infra"):
        shutil.copytree(ROOT / name, root / name)
    shutil.copy(ROOT / "pyproject.toml", root)
    shutil.copy(DIGITS, root / "params.yaml")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    started = [start("server", "start", "--host", "127.0.0.1", "--port", port)]
    try:
        until(lambda: prefect("work-pool", "create", "fovea", "--type", "process").returncode == 0)
        prefect("--no-prompt", "deploy", "--all", "--prefect-file", "infra/prefect.yaml")
        started.append(start("worker", "start", "--pool", "fovea", "--limit", "1"))
        yield root
    finally:
        for process in reversed(started):  # a worker without its server would wait for it
            end_group(process, print)


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [PREFECT, *arguments], stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )


def prefect(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([PREFECT, *arguments], capture_output=True, text=True)


def until(holds: Callable[[], Any], within_s: float = 90) -> Any:
    deadline = time.monotonic() + within_s
    while not (value := holds()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
    return value


def flow_runs(state: str) -> list[str]:
    listed = prefect("flow-run", "ls", "--state", state, "--output", "json").stdout
    return [run["id"] for run in json.loads(listed or "[]")]


def task_runs(state: str) -> list[str]:
    listed = prefect("task-run", "ls", "--state", state, "--output", "json").stdout
    return [run["name"] for run in json.loads(listed or "[]")]


def test_the_schedule_plans_runs_and_a_cancelled_run_leaves_no_process(deployed: Path) -> None:
    assert until(lambda: flow_runs("SCHEDULED")), "the scheduler plans no run"
    prefect("deployment", "run", "retrain/weekly")
    group = int(until(lambda: (deployed / "group").exists() and read(deployed / "group")))
    (running,) = flow_runs("RUNNING")
    # What the code logs reaches the server from below a worker, too.
    until(lambda: "digits has no champion" in prefect("flow-run", "logs", running).stdout)
    cancelled = time.monotonic()
    prefect("flow-run", "cancel", running)
    until(lambda: not group_lives(group), within_s=20)
    assert time.monotonic() - cancelled < 12  # the command itself takes two of them to start
    assert until(lambda: running in flow_runs("CANCELLED"))
    assert until(lambda: task_runs("CANCELLED")) == ["train"]


def read(path: Path) -> str:
    return path.read_text()
