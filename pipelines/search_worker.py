"""A search that is under way → finished trials: one worker process of it.

`python -m pipelines.search_worker FOLDER NAME PARENT` runs in the folder of the project. FOLDER has
the file search.json, which the stage `search` has written: the params, and the name of the study.
The worker needs nothing else, so params.yaml may be edited while a search runs. NAME is that of the
worker. PARENT is the number of the process that has started it, with which it ends.
"""

import gc
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from components.errors import HyperparameterError, UserError, disk_errors, one_line
from components.model.backend import load_keras
from components.params.balance import Balance
from components.params.hyperparameters import Hyperparameters
from components.params.search import Search
from components.registry.weights import resolve_weights
from components.search.coordinator import BEAT_S
from components.search.costs import costs
from components.search.executor import MISTAKE
from components.search.folds import Fold, confirmation_folds
from components.search.pruning import MedianRule
from components.search.rungs import Rungs
from components.search.tasks import OnValue, RunTask, Task
from components.search.worker import work
from components.splits.sets import near_pairs, row_sets
from components.training.best_epoch import Row
from components.training.checkpoints import Checkpoints, differences
from components.training.limits import TrainingFailedError
from components.training.starts import Backbones
from components.training.training import train_classifier
from components.training_set.examples import Data
from pipelines import artifacts
from pipelines.formats import read_table
from pipelines.training_data import read_training_data
from pipelines.workspace.environment import quiet_vendors
from pipelines.workspace.messages import show_messages
from pipelines.workspace.searches import PLAN, study_url
from pipelines.workspace.training_key import machine_key, package_versions, training_key


def main() -> int:
    """Run trials until the search has ended, or until this process is to be renewed."""
    folder, name, parent = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    signal.signal(signal.SIGTERM, _end_once)
    quiet_vendors()
    show_messages(level=logging.WARNING)
    _end_with(parent)
    try:
        _work(folder, name)
    except UserError as error:
        print(f"{MISTAKE}{one_line(error, longest=None)}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _work(folder: Path, name: str) -> None:
    plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    check_machine(plan["machine"])
    trainer = Trainer(
        Hyperparameters.model_validate(plan["written"], strict=False),
        Search.model_validate(plan["search"], strict=False),
        Balance.model_validate(plan["balance"], strict=False),
        folder,
    )
    search = trainer.search
    load_keras(trainer.written.train.threads)
    # Each training lets Python look for garbage among all objects of the process. Without the half
    # a million of TensorFlow, this takes a quarter of a second less.
    gc.freeze()
    rungs = Rungs(study_url(folder), plan["study"])
    try:
        train = _ending_as_asked(trainer.train)
        work(rungs, name, search.objectives, train, BEAT_S, rule=_median_rule(search))
    finally:
        rungs.close()


def search_machine() -> dict[str, str]:
    """Return name → value of what decides the trials and must be equal on all machines."""
    return machine_key() | package_versions("search")


def check_machine(expected: Mapping[str, str]) -> None:
    """Raise UserError if trials would have other results on this machine than in their search.

    expected: what `search_machine` returned on the machine of the search.
    """
    if other := differences(expected, search_machine()):
        raise UserError(
            "this machine would train other classifiers than the search; run `make set-up` here, "
            "and set the same environment variables as for the search. "
            f"Received: {', '.join(other)}"
        )


def _median_rule(search: Search) -> MedianRule | None:
    if search.pruner == "none":
        return None
    return MedianRule(search.startup_trials, search.directions[search.quality])


class Trainer:
    """Trains tasks on the files of the stages before `search`.

    written: the hyperparameters in params.yaml. search, balance: these sections. folder: of the
    search, with the checkpoints of its trials.
    """

    def __init__(
        self, written: Hyperparameters, search: Search, balance: Balance, folder: Path
    ) -> None:
        self.search, self.written, self._balance = search, written, balance
        self._folder, self._backbones = folder, Backbones()
        self._weights = cache(self._resolve)  # A registered version is downloaded only once.

    @lru_cache(maxsize=1)  # noqa: B019 - a worker has one trainer
    def data(self) -> Data:
        """Return the images and labels of train and val."""
        return read_training_data()

    @lru_cache(maxsize=1)  # noqa: B019
    def folds(self) -> list[Fold]:
        """Return the data on which the best trials are confirmed."""
        return folds(self.data(), self.search, self.written.train.seed, self._balance)

    @disk_errors()
    def train(self, task: Task, on_value: OnValue) -> Mapping[str, float]:
        """Train a task, and return the value of each objective, by name.

        Raises TrainingFailedError if training is not possible with the values that the search has
        chosen, HyperparameterError if it is not possible with those in params.yaml, and UserError
        if a file or the disk of this machine is the reason.
        """
        hyperparameters = self.written.with_overrides(task.overrides)
        checkpoints = None
        data = self.data()
        if task.epochs == 0:
            hyperparameters = hyperparameters.with_overrides(HEAD_ONLY)
        weights = self._weights(hyperparameters.model.weights)
        if task.fold is not None:
            fold = self.folds()[task.fold]
            data = fold.data
            train = hyperparameters.train.model_copy(update={"seed": fold.seed})
            hyperparameters = hyperparameters.model_copy(update={"train": train})
        elif task.epochs != 0:
            root = self._folder / "checkpoints" / str(task.trial)
            key = training_key(hyperparameters, data, weights)
            # It says which GPU, and a trial may go on at another one. `processor` has their names.
            del key["CUDA_VISIBLE_DEVICES"]
            checkpoints = Checkpoints(root, key)

        def on_epoch(row: Row) -> None:
            on_value(epoch_number(row, task, hyperparameters), row[self.search.quality])

        features = artifacts.STATE / "features"
        try:
            trained = train_classifier(
                hyperparameters,
                data,
                weights,
                on_epoch,
                features,
                checkpoints,
                until=task.epochs or None,
                backbones=self._backbones,
            )
        except HyperparameterError as error:
            if set(task.overrides).isdisjoint(error.names):
                raise  # No trial would succeed.
            raise TrainingFailedError(str(error)) from None
        best = float(trained.best[self.search.quality])
        return {self.search.quality: best, **costs(trained.classifier, self.search.costs)}

    def _resolve(self, weights: str) -> Path | None:
        return resolve_weights(self.written.model.model_copy(update={"weights": weights}))


# Without fine-tuning, nothing mixes images, and no epochs are averaged.
HEAD_ONLY: Mapping[str, Any] = {
    "train.finetune.epochs": 0,
    "train.mixup": 0.0,
    "train.cutmix": 0.0,
    "train.average.soup": 0,
}


def folds(data: Data, search: Search, seed: int, balance: Balance) -> list[Fold]:
    """Return the folds on which the best trials of a search are confirmed."""
    beta = balance.effective_number_beta
    return confirmation_folds(data, sets_of_copies(), search.confirm.folds, seed, beta)


def sets_of_copies() -> list[int]:
    """Return the number of the set of copies of each image, first those of train, then of val."""
    rows = pd.concat([read_table(artifacts.rows(split)) for split in ("train", "val")])
    numbers: list[int] = row_sets(rows, near_pairs(rows, read_table(artifacts.DUPLICATES))).tolist()
    return numbers


def epoch_number(row: Row, task: Task, hyperparameters: Hyperparameters) -> int:
    """Return the number of an epoch, see `OnValue`."""
    before = row["phase"] == "head" and task.epochs != 0
    return int(row["epoch"]) - (hyperparameters.train.head.epochs if before else 0)


def _end_once(number: int, frame: object) -> NoReturn:
    """End in good order, so that the trial is given back; a second signal does not disturb this."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(128 + number)


def _ending_as_asked(train: RunTask) -> RunTask:
    """Return the same training, which ends with SystemExit whatever is raised after `_end_once`.

    A signal may come while code in C runs, which can make another error of the SystemExit.
    """

    def run(task: Task, on_value: OnValue) -> Mapping[str, float]:
        try:
            return train(task, on_value)
        except Exception:
            if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:  # `_end_once` has run
                sys.exit(128 + signal.SIGTERM)
            raise

    return run


def _end_with(parent: int) -> None:
    """End this process when the process that started it has ended, also if it was killed.

    It may have ended already: to import all modules takes seconds.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with the search").start()


if __name__ == "__main__":
    sys.exit(main())
