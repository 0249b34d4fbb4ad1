"""Whole searches in a test: a real database, the real coordinator and workers, quick trainings."""

import queue
import threading
import time
from contextlib import suppress
from pathlib import Path

from components.errors import UserError
from components.params.hyperparameters import Hyperparameters
from components.params.reader import read_params
from components.params.search import Search
from components.search.coordinator import Coordinator
from components.search.rungs import Rungs
from components.search.worker import work
from components.search.workers import Ended, Failures
from tests.cards import DIGITS

PARAMS = read_params(DIGITS)
WRITTEN = Hyperparameters(model=PARAMS.model, train=PARAMS.train).with_overrides(
    {"train.finetune.epochs": 15}
)


def search_of(**changes) -> Search:
    """Return a search of the learning rate alone, with random trials unless changes say more."""
    base = {
        "trials": 6,
        "sampler": "random",
        "first_rung": 2,
        "finalists": 2,
        "confirm": {"trials": 1, "folds": 2},
        "space": {"train.finetune.learning_rate": {"low": 0.001, "high": 0.01, "log": True}},
    }
    return Search.model_validate(
        {**PARAMS.search.model_dump(exclude_unset=True), **base, **changes}, strict=False
    )


class ThreadWorkers:
    """Workers that are threads of this process, each as on a machine of its own.

    run: trains a task; see `work`.
    """

    def __init__(
        self, url: str, name: str, run, count: int = 2, objectives=("val_macro_f1",), rule=None
    ) -> None:
        self._url, self._name, self._train, self.count = url, name, run, count
        self._objectives, self._rule = objectives, rule
        self._threads: dict[int, threading.Thread] = {}
        self._started = 0
        self._failures, self._ended = Failures(), queue.SimpleQueue()

    def tend(self, wanted: int, completed: int) -> list:
        ended = [self._ended.get() for _ in range(self._ended.qsize())]
        active = sum(thread.is_alive() for thread in self._threads.values())
        if self._failures.too_many(ended, completed, active):
            return ended
        for place in range(min(wanted, self.count)):
            thread = self._threads.get(place)
            if thread is None or not thread.is_alive():
                name = f"worker-{self._started}"
                self._started += 1
                thread = threading.Thread(target=self._work, args=(name,), name=name, daemon=True)
                self._threads[place] = thread
                thread.start()
        return ended

    def kill(self, worker: str) -> None:
        raise AssertionError(f"{worker} does not hang")

    def wait(self) -> None:
        for thread in self._threads.values():
            thread.join(timeout=30)
            assert not thread.is_alive()

    def _work(self, name: str) -> None:
        rungs = Rungs(self._url, self._name)
        try:
            with suppress(SystemExit):
                work(rungs, name, self._objectives, self._train, every_s=0.2, rule=self._rule)
        except UserError as error:
            self._ended.put(Ended(name, f"on {name}: {error}", failed=True))
        finally:
            rungs.close()


def rate_of(task) -> float:
    """Return a value of a task that is better with a higher learning rate."""
    return 50 * task.overrides.get("train.finetune.learning_rate", 0.003)


def run_search(
    folder: Path,
    search: Search,
    train,
    on_progress=lambda progress: None,
    clock=time.monotonic,
):
    """Run or continue the search in a folder. Return the coordinator and the trials."""
    url = f"sqlite:///{folder}/study.db"
    rungs = Rungs.create(url, "s", ["maximize"])
    workers = ThreadWorkers(url, "s", train)
    coordinator = Coordinator(
        rungs, search, WRITTEN, workers, lambda trial, course: None, on_progress, clock=clock
    )
    coordinator.find()
    trials = coordinator.confirm(search.confirm.folds)
    coordinator.settle()
    coordinator.end("it is finished")
    workers.wait()
    rungs.close()
    return coordinator, trials
