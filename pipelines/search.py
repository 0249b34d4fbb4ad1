"""prepared train and val splits, balance plan → best hyperparameters and trials of a study.

A study is a search with Optuna. A trial is one training with one choice of the hyperparameters. It
only reports metrics, and its model is not kept. So it gets no temperature, unlike the model of the
stage `train`.
"""

import hashlib
import json
import logging
from functools import cache
from pathlib import Path

import pandas as pd

from components.errors import HyperparameterError
from components.files import sha256
from components.model.arithmetic import arithmetic
from components.model.backend import load_keras
from components.params.hyperparameters import Hyperparameters
from components.params.model import Model
from components.params.search import Choices, Search
from components.params.train import Train
from components.registry.weights import resolve_weights
from components.search.plots import draw_trials
from components.search.space import Overrides
from components.search.study import Objective, OnValue, Pruned, Trial, best_trial, run_study
from components.tracking.runs import Run, start_run
from components.tracking.system_metrics import system_metrics
from components.training.best_epoch import Row
from components.training.limits import TrainingFailedError
from components.training.training import train_classifier
from pipelines import artifacts
from pipelines.formats import write_table, write_text, write_tree
from pipelines.training_data import read_training_data
from pipelines.workspace.lineage import origin

log = logging.getLogger(__name__)


def run(model: Model, train: Train, search: Search) -> None:
    """Run the study that params.yaml describes, and write its results.

    With `search.trials: 0` no study runs, and training uses the values in params.yaml.
    With more trials, UserError is raised if an earlier stage has not run, if weights are missing,
    if MLflow does not answer, or if no trial is completed.
    """
    written = Hyperparameters(model=model, train=train)
    trials: list[Trial] = []
    overrides: Overrides = {}
    if search.trials:
        trials = _run_tracked_study(written, search)
        overrides = best_trial(trials).overrides
    else:
        log.info("no search, because search.trials is 0; training uses the values in params.yaml")

    write_tree(artifacts.HYPERPARAMETERS, overrides)
    write_table(artifacts.TRIALS, _trial_table(trials, search))
    write_text(artifacts.STUDY_PLOT, draw_trials(trials, search.maximize, search.space))


def _run_tracked_study(written: Hyperparameters, search: Search) -> list[Trial]:
    """Run or continue the study, and return its trials.

    In MLflow the study is a parent run, and each trial is a child run of it.
    """
    study = study_id(written, search)
    # If a study is interrupted and continued, it has several parent runs with the same `study_id`.
    with start_run("search", origin(), {"stage": "search", "study_id": study}) as parent:
        parent.log_params({"train.seed": written.train.seed, "search": search.model_dump()})
        objective = build_objective(written, search, parent)
        storage = artifacts.STATE / "search" / f"{study}.db"
        with system_metrics(parent):
            trials = run_study(search, written, objective, storage)
        best = best_trial(trials)
        parent.log_metrics({search.maximize: best.value or 0.0})
        parent.set_tags({"best_trial": str(best.number)})
    return trials


def build_objective(written: Hyperparameters, search: Search, parent: Run) -> Objective:
    """Return the objective of the study: a function that trains one classifier for each trial.

    Fine-tuning takes at most `search.epochs` epochs. The objective returns the value of the metric
    `search.maximize` in the best epoch. It raises Pruned if Optuna stops the trial early, and
    TrainingFailedError if training is not possible with the values that the search has chosen.

    written: the hyperparameters in params.yaml. A trial replaces some of their values.
    parent: the MLflow run of the study. Each trial is a child run of this run.
    """
    data = read_training_data()

    @cache  # If the weights are a registered version, they are downloaded only once.
    def resolve(weights: str) -> Path | None:
        return resolve_weights(written.model.model_copy(update={"weights": weights}))

    def objective(number: int, overrides: Overrides, on_value: OnValue) -> float:
        hyperparameters = written.with_overrides(overrides)
        epochs = min(search.epochs, hyperparameters.train.finetune.epochs)
        hyperparameters = hyperparameters.with_overrides({"train.finetune.epochs": epochs})
        with start_run(f"trial {number}", origin(), {"stage": "search"}, parent) as tracked:
            tracked.log_params(hyperparameters.model_dump())

            def on_epoch(row: Row) -> None:
                tracked.log_metrics({search.maximize: row[search.maximize]}, step=row["epoch"])
                if row["phase"] == "finetune":
                    on_value(row["epoch"], row[search.maximize])

            weights = resolve(hyperparameters.model.weights)
            features = artifacts.STATE / "features"
            try:
                trained = train_classifier(hyperparameters, data, weights, on_epoch, features)
                return float(trained.best[search.maximize])
            except Pruned as early:
                # Pruned is raised after the `with` block, so that MLflow shows the run as finished,
                # not as failed.
                tracked.set_tags({"pruned": "yes"})
                cut_short = early
            except HyperparameterError as error:
                if overrides.keys().isdisjoint(error.names):
                    raise  # No trial would succeed.
                raise TrainingFailedError(str(error)) from None
        raise cut_short

    return objective


def study_id(written: Hyperparameters, search: Search) -> str:
    """Return a hash (32 hex digits) of everything that decides the scores of the trials.

    This is the data, params, code and weights, and the conditions of the arithmetic. An interrupted
    study continues only if this hash is the same as before. The number of trials is not hashed, so
    that a user can add trials to a study.
    """
    load_keras(written.train.threads)
    rules = {**search.model_dump(exclude={"trials"}), **written.model_dump(), **arithmetic()}
    digest = hashlib.sha256(json.dumps(rules, sort_keys=True).encode())
    here = Path(__file__)
    files = [artifacts.STATISTICS, artifacts.PLAN, *sorted(here.parent.glob("*.py"))]
    files += sorted((here.parents[1] / "components").rglob("*.py"))
    choices = search.space.get("model.weights")
    chosen = choices.choices if isinstance(choices, Choices) else ()
    for weights in dict.fromkeys([written.model.weights, *map(str, chosen)]):
        if file := resolve_weights(written.model.model_copy(update={"weights": weights})):
            files.append(file)
    for file in files:
        digest.update(sha256(file).encode())
    return digest.hexdigest()[:32]


def _trial_table(trials: list[Trial], search: Search) -> pd.DataFrame:
    """Return a row for each trial. A hyperparameter that a trial did not choose has no value."""
    rows = [
        {"trial": trial.number, "state": trial.state, search.maximize: trial.value}
        | trial.overrides
        for trial in trials
    ]
    columns = ["trial", "state", search.maximize, *search.space]
    # With the dtype object, a column of integers of which one is missing has no floats.
    return pd.DataFrame(rows, columns=columns, dtype=object)
