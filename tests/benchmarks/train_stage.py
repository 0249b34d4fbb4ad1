"""python -m tests.benchmarks.train_stage WORKSPACE [PART …]: the phase `head`, and the records.

WORKSPACE is a folder in which `dvc repro balance` has run. Nothing is written there. The network
and the training are those of its params.yaml. Parts, all of them without arguments:

- `head`: the phase `head` against Keras as its guide to transfer learning does it, with the
  backbone frozen. Keras trains until its macro F1 on val is that of the phase, at most --epochs.
- `records`: training with checkpoints, MLflow and system metrics against training without them.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from sklearn.metrics import f1_score

from components.model.backend import load_keras
from components.model.classifier import Classifier, build_classifier, outputs
from components.params.hyperparameters import Hyperparameters
from components.params.reader import read_params
from components.tracking.runs import start_run
from components.tracking.system_metrics import system_metrics
from components.training.checkpoints import Checkpoints
from components.training.training import train_classifier
from components.training_set.examples import Data
from pipelines.training_data import read_training_data
from pipelines.workspace.lineage import origin

RATE = 1e-3  # of Keras' Adam, its default
TURNS = 3


@dataclass(frozen=True)
class Run:
    """One measurement: seconds by the clock, seconds of the processors, macro F1 on val."""

    seconds: float
    cpu_s: float
    score: float


def main() -> None:
    """Print the figures of the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="all if left out")
    parser.add_argument("--epochs", type=int, default=8, help="of Keras at most, and of `records`")
    given = parser.parse_args()
    os.chdir(given.workspace)
    params = read_params(Path("params.yaml"))
    hyperparameters = Hyperparameters(model=params.model, train=params.train)
    data = read_training_data()
    load_keras(params.train.threads)
    print(f"{len(data.train)} train and {len(data.val)} val images, load {os.getloadavg()[0]:.1f}")
    for part in given.part or PARTS:
        PARTS[part](hyperparameters, data, given.epochs)
    print(f"load at the end {os.getloadavg()[0]:.1f}")


def head(hyperparameters: Hyperparameters, data: Data, epochs: int) -> None:
    """The phase `head` twice, the second time on stored features, and then Keras."""
    with tempfile.TemporaryDirectory() as store:
        found = [
            measured(lambda: ours(hyperparameters, data, Path(store)), data)
            for _ in ("first", "second")
        ]
    for name, run in zip(("with its features", "a further head"), found, strict=True):
        print(f"phase `head`, {name:18} {words(run)}", flush=True)
    before, begun = cpu_s(), time.perf_counter()
    for epoch, score in enumerate(plain_keras(hyperparameters, data, epochs), start=1):
        run = Run(time.perf_counter() - begun, cpu_s() - before, score)
        print(f"Keras, frozen, after epoch {epoch:2}         {words(run)}", flush=True)
        if score >= found[0].score:
            break
    for name, ours_run in zip(("with its features", "a further head"), found, strict=True):
        print(f"{name}: {run.seconds / ours_run.seconds:.1f} times as fast as these epochs")


def ours(hyperparameters: Hyperparameters, data: Data, store: Path) -> Classifier:
    """Train the phase `head` only."""
    finetune = hyperparameters.train.finetune.model_copy(update={"epochs": 0})
    train = hyperparameters.train.model_copy(update={"finetune": finetune})
    only_head = hyperparameters.model_copy(update={"train": train})
    return train_classifier(only_head, data, None, lambda row: None, store).classifier


def plain_keras(hyperparameters: Hyperparameters, data: Data, epochs: int) -> Any:
    """Train a new layer on the frozen backbone, and yield macro F1 on val after each epoch."""
    import keras
    import tensorflow as tf

    model = hyperparameters.model
    classifier = build_classifier(model, data.class_names, data.size, data.resize)
    network = classifier.logits_model
    classifier.backbone.trainable = False
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(RATE), loss, metrics=["accuracy"])
    pairs = (np.asarray(data.train.inputs), data.train.labels)
    batches = tf.data.Dataset.from_tensor_slices(pairs).shuffle(len(data.train), seed=1)
    batches = batches.batch(hyperparameters.train.batch_size).prefetch(tf.data.AUTOTUNE)
    for _ in range(epochs):
        network.fit(batches, verbose=0)
        yield macro_f1(network, data)


def macro_f1(network: Any, data: Data) -> float:
    """Return macro F1 of a network on val."""
    predicted = outputs(network, data.val.inputs).argmax(axis=1)
    return float(f1_score(data.val.labels, predicted, average="macro", zero_division=0))


def measured(train: Callable[[], Classifier], data: Data) -> Run:
    """Return how long a training takes, and how good its classifier is."""
    before, begun = cpu_s(), time.perf_counter()
    classifier = train()
    seconds, used = time.perf_counter() - begun, cpu_s() - before
    return Run(seconds, used, macro_f1(classifier.logits_model, data))


def cpu_s() -> float:
    """Return how many seconds the processors have worked for this process."""
    return sum(psutil.Process().cpu_times()[:2])


def words(run: Run) -> str:
    """Return the figures of a run as text."""
    return f"{run.seconds:7.1f} s, {run.cpu_s:7.1f} s of a core, macro F1 on val {run.score:.3f}"


def records(hyperparameters: Hyperparameters, data: Data, epochs: int) -> None:
    """The same epochs of fine-tuning with everything that `train` records, and without."""
    finetune = hyperparameters.train.finetune.model_copy(update={"epochs": epochs})
    head = hyperparameters.train.head.model_copy(update={"epochs": 0})
    train = hyperparameters.train.model_copy(update={"finetune": finetune, "head": head})
    short = hyperparameters.model_copy(update={"train": train})
    shares: dict[str, list[float]] = {"seconds": [], "cpu_s": []}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        measured(lambda: bare(short, data, Path(folder)), data)  # the first one starts everything
        for turn in range(TURNS):
            plain = measured(lambda: bare(short, data, Path(folder)), data)
            full = measured(lambda t=turn: recorded(short, data, Path(folder), t), data)
            print(f"{epochs} epochs without records {words(plain)}", flush=True)
            print(f"{epochs} epochs with records    {words(full)}", flush=True)
            for name, values in shares.items():
                values.append(100 * (getattr(full, name) / getattr(plain, name) - 1))
    for name, values in shares.items():
        print(f"records cost {statistics.median(values):+.1f} % ({name}, median of {TURNS})")


def bare(hyperparameters: Hyperparameters, data: Data, folder: Path) -> Classifier:
    """Train without any record."""
    return train_classifier(hyperparameters, data, None, lambda row: None, folder).classifier


def recorded(hyperparameters: Hyperparameters, data: Data, folder: Path, turn: int) -> Classifier:
    """Train as the stage `train` does, with checkpoints, MLflow and system metrics."""
    checkpoints = Checkpoints(folder / "checkpoints", {"turn": turn})
    with start_run("train", origin(), tags={"stage": "train"}) as run, system_metrics(run):
        trained = train_classifier(
            hyperparameters,
            data,
            None,
            lambda row: run.log_metrics(
                {key: value for key, value in row.items() if isinstance(value, float)}
            ),
            folder,
            checkpoints,
        )
    checkpoints.remove()
    return trained.classifier


PARTS = {"head": head, "records": records}


if __name__ == "__main__":
    main()
