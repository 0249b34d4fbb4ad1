"""prepared train and val splits, balance plan, hyperparameters → model, history, calibration.

A picture of training images and their random changes is also written.
"""

import logging
from itertools import count
from pathlib import Path

import pandas as pd

from components.calibration.averaged_views import VIEWS
from components.calibration.outputs import fit_outputs
from components.model.model_file import model_id, write_classifier
from components.params.hyperparameters import Hyperparameters
from components.params.model import Model, Views
from components.params.train import Train
from components.registry.weights import resolve_weights
from components.tracking.runs import RUN_NAME, Run, run_title, start_run
from components.tracking.system_metrics import system_metrics
from components.training.best_epoch import Row
from components.training.checkpoints import Checkpoints
from components.training.machines import joined, read_machines
from components.training.training import Trained, train_classifier
from components.training.training_state import OnEpoch
from components.training.transforms import doubtful_views
from pipelines import artifacts
from pipelines.augmentation_picture import draw_augmentation
from pipelines.formats import read_tree, write_bytes, write_table, write_tree
from pipelines.training_data import read_training_data
from pipelines.workspace.lineage import origin
from pipelines.workspace.machine import machine
from pipelines.workspace.training_key import shared_key, training_key

log = logging.getLogger(__name__)


def run(model: Model, train: Train) -> None:
    """Train a classifier, make its probabilities honest, and write it.

    The metrics of each epoch go to MLflow and history.csv. The speed of training, and how busy the
    machine is, go only to MLflow, because they differ from run to run. Logit adjustment and
    temperature, and what they change on val, go to MLflow and calibration.json.

    If an earlier run of the stage was stopped and nothing has changed since then, training goes on
    after its last epoch.

    On several machines, this is done on machine 0. The others only train. They write no outs, no
    checkpoints and nothing to MLflow.
    Raises UserError if an earlier stage has not run, if its files are damaged, if the weights to
    start from are missing, if MLflow does not answer, or if another machine is missing.
    """
    machines = read_machines()
    if machines.number:
        _help(model, train)
        return
    source = origin()
    with start_run("train", source, tags={"stage": "train"}) as tracked:
        hyperparameters = _hyperparameters(model, train)
        # The name is known only now: the hyperparameters may choose the backbone.
        tracked.set_tags({RUN_NAME: run_title(hyperparameters.model.backbone, source)})
        tracked.log_params(hyperparameters.model_dump())

        if doubt := doubtful_views(hyperparameters.model.views, hyperparameters.train.augmentation):
            log.warning(doubt)
        weights = resolve_weights(hyperparameters.model)
        data = read_training_data()
        # A reviewer must see these, too, if they differ from those of the champion.
        tracked.log_params(
            {
                "prepare": {"size": data.size, "resize": data.resize},
                "balance": {"strategy": data.balance.strategy},
            }
        )
        write_bytes(artifacts.AUGMENTED, draw_augmentation(hyperparameters.train, data))
        tracked.log_files(artifacts.AUGMENTED)
        features = artifacts.STATE / "features"
        facts = shared_key(hyperparameters, data, weights)
        on_epoch = _epoch_logger(tracked)
        with joined(machines, facts) as machines, system_metrics(tracked):
            key = training_key(hyperparameters, data, weights)
            checkpoints = Checkpoints(artifacts.STATE / "checkpoints", key)
            trained = train_classifier(
                hyperparameters, data, weights, on_epoch, features, checkpoints, machines
            )

        classifier, effect = fit_outputs(trained.classifier, hyperparameters, data)
        log.info(f"{effect.in_words()}{_cost(hyperparameters.model.views)}")

        write_classifier(artifacts.MODEL, classifier)
        write_table(artifacts.HISTORY, _history(trained))
        write_tree(artifacts.CALIBRATION, effect.to_tree())
        tracked.log_metrics(effect.to_flat())
        tracked.log_files(artifacts.HISTORY, artifacts.CALIBRATION, Path("params.yaml"))
        tracked.set_tags({"model_id": model_id(artifacts.MODEL), **machine()})
        checkpoints.remove()


def _history(trained: Trained) -> pd.DataFrame:
    """Return one row for each epoch; the column `kept` is True for the epoch that was the best."""
    table = pd.DataFrame(trained.history)
    best = trained.best
    kept = table["phase"].eq(best["phase"]) & table["epoch"].eq(best["epoch"])
    table.insert(2, "kept", kept)
    return table


def _cost(views: Views) -> str:
    count = VIEWS[views]
    if count == 1:
        return ""
    return (
        f"; the model averages the logits of {count} views of each image, so a prediction takes "
        f"about {count} times as long"
    )


def _help(model: Model, train: Train) -> None:
    """Train together with machine 0, on another machine."""
    hyperparameters = _hyperparameters(model, train)
    weights = resolve_weights(hyperparameters.model)
    data = read_training_data()
    features = artifacts.STATE / "features"
    facts = shared_key(hyperparameters, data, weights)
    unused = Checkpoints(artifacts.STATE / "checkpoints", facts)
    with joined(read_machines(), facts) as machines:
        train_classifier(
            hyperparameters, data, weights, lambda row: None, features, unused, machines
        )


def _hyperparameters(model: Model, train: Train) -> Hyperparameters:
    overrides = read_tree(artifacts.HYPERPARAMETERS)
    return Hyperparameters(model=model, train=train).with_overrides(overrides)


def _epoch_logger(tracked: Run) -> OnEpoch:
    """Return a function that logs the metrics of an epoch to MLflow.

    The step in MLflow is the number of the epoch. The number starts at 1. The second phase of the
    training continues the numbers of the first phase.
    """
    epochs = count(1)

    def log(row: Row) -> None:
        numbers = {key: value for key, value in row.items() if isinstance(value, float)}
        tracked.log_metrics(numbers, step=next(epochs))

    return log
