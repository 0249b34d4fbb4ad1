"""A workspace → its search: when each trial ended, with which value, and the memory it took."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from components.errors import UserError
from components.search.claims import TASK
from components.search.rungs import Rungs
from components.search.tasks import Task
from pipelines.workspace.search_variables import EXECUTOR, STORAGE, WORKERS
from pipelines.workspace.searches import last_search
from tests.benchmarks.recipes.results import ROOT, Result

LOOK_S = 0.5  # how often the memory is read; a look takes some milliseconds of a core
OUTPUT = Path("output.txt")
# These would send the search to other machines, or its records to another MLflow.
ELSEWHERE = (EXECUTOR, STORAGE, "MLFLOW_TRACKING_URI")

Look = Callable[[int], None]  # is called again and again with the id of a running process


def run_process(arguments: Sequence[str], look: Look, budget_s: float, **variables: str) -> float:
    """Run `python ARGUMENTS` in this folder, and end it after the budget. Return the seconds.

    Raises UserError if it fails.
    """
    environment = {name: text for name, text in os.environ.items() if name not in ELSEWHERE}
    environment |= {"PYTHONPATH": str(ROOT), **variables}
    begun = time.monotonic()
    with OUTPUT.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            while process.poll() is None and time.monotonic() < begun + budget_s:
                look(process.pid)
                time.sleep(LOOK_S)
            seconds = time.monotonic() - begun
        finally:
            over = process.poll() is None
            if over:
                process.terminate()
            process.wait()
    if process.returncode and not over:
        last = OUTPUT.read_text(errors="replace").strip().rpartition("\n")[2]
        raise UserError(f"{' '.join(arguments)}: it must end without an error. Received: {last}")
    return seconds


def run_search(workers: int, core: int | None = None) -> Result:
    """Run the stage `search` in this folder, and return what was measured.

    core: the only core on which the worker may run; None: as the stage decides. The coordinator
    may use all cores in any case, so that one worker is not slowed down by it.
    """
    begun, memory = time.time(), Memory(core)
    wall_s = run_process(
        ["-m", "pipelines", "search"], memory.look, float("inf"), **{WORKERS: str(workers)}
    )
    return {
        "wall_s": round(wall_s, 2),
        "worker_mb": round(memory.worker / 1e6, 1),
        "coordinator_mb": round(memory.coordinator / 1e6, 1),
        "processes": len(memory.workers),
        "trials": read_trials(begun),
    }


def read_trials(begun: float) -> list[Result]:
    """Return the trials of the first rung, in the order in which they ended.

    began, ended: seconds since `begun`, a time of the clock. value: of a pruned trial, the best one
    that it had. epochs: how many it had trained.
    """
    saved = last_search()
    assert saved, "the stage `search` has written no search"
    rungs = Rungs(saved.url, saved.study)
    try:
        rows = [row for row in rungs.first.trials() if row.state.is_finished()]
    finally:
        rungs.close()
    trials = [
        {
            "number": row.number,
            "state": row.state.name.lower(),
            "value": row.values[0] if row.values else _best(row.intermediate_values),
            "epochs": len(row.intermediate_values),
            "began": round(row.datetime_start.timestamp() - begun, 3),
            "ended": round(row.datetime_complete.timestamp() - begun, 3),
            "overrides": dict(Task.from_tree(row.user_attrs[TASK]).overrides),
        }
        for row in rows
    ]
    return sorted(trials, key=lambda trial: trial["ended"])


def _best(curve: Mapping[int, float]) -> float | None:
    return max(curve.values(), default=None)


def peak_bytes(process: psutil.Process) -> int:
    """Return the most memory (resident set) of a process until now; without Linux, that of now."""
    status = Path(f"/proc/{process.pid}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * int(found[1]) if found else int(process.memory_info().rss)


class Memory:
    """The most memory (resident set, bytes) that the coordinator and a worker had at one moment.

    core: if not None, all workers are held to it, each time that `look` is called.
    """

    def __init__(self, core: int | None = None) -> None:
        self._core = core
        self.coordinator = self.worker = 0
        self.workers: set[int] = set()  # the ids of their processes

    def look(self, coordinator: int) -> None:
        """Read the memory now. coordinator: the id of its process."""
        with suppress(psutil.Error, OSError):  # a process may end at any moment
            process = psutil.Process(coordinator)
            self.coordinator = max(self.coordinator, peak_bytes(process))
            for child in process.children():
                if "pipelines.search_worker" in child.cmdline():
                    self._look_at(child)

    def _look_at(self, worker: psutil.Process) -> None:
        with suppress(psutil.Error, OSError):
            if self._core is not None:
                for thread in worker.threads():
                    os.sched_setaffinity(thread.id, {self._core})
            self.worker = max(self.worker, peak_bytes(worker))
            self.workers.add(worker.pid)


def best_so_far(trials: Sequence[Mapping[str, Any]], until_s: float) -> list[list[float]]:
    """Return [seconds, best value until then, trials finished until then] after each trial.

    A trial without a value finishes, too.

    >>> trials = [{"ended": 3, "value": 0.5}, {"ended": 4, "value": 0.4}, {"ended": 9, "value": 1}]
    >>> best_so_far(trials, 5)
    [[3, 0.5, 1], [4, 0.5, 2]]
    """
    best, events = 0.0, []
    for count, trial in enumerate(trials, start=1):
        if trial["ended"] <= until_s:
            best = max(best, round(trial["value"] or 0.0, 6))
            events.append([trial["ended"], best, count])
    return events
