"""Classifier, examples and a plan → the same classifier, trained, and its history.

The best epoch of all phases is the one kept.
"""

import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.errors import UserError
from components.model.backend import load_keras
from components.model.classifier import Classifier, build_classifier, outputs, warm_started
from components.model.model_file import model_id, read_classifier
from components.model.recall import balanced_accuracy
from components.params.hyperparameters import Hyperparameters
from components.params.train import Train
from components.training.batches import steps_per_epoch, training_batches
from components.training.best_epoch import BestEpoch, Row
from components.training.losses import Loss, build_loss
from components.training.optimizers import build_optimizer
from components.training.phases import Phase, phases
from components.training_set.examples import Balance, Data, Examples

log = logging.getLogger(__name__)

OnEpoch = Callable[[Row], None]


class TrainingFailedError(UserError):
    """These hyperparameters cannot be trained; others may."""


@dataclass(frozen=True)
class Trained:
    """A classifier at its best epoch; the history, a row an epoch; the best epoch's row."""

    classifier: Classifier
    history: tuple[Row, ...]
    best: Row


def train_classifier(
    hyperparameters: Hyperparameters,
    data: Data,
    weights: Path | None,
    seed: int,
    on_epoch: OnEpoch,
    cache: Path,
) -> Trained:
    """Build a classifier, start it from `weights`, and train it; equal arguments, equal weights.

    weights: a `.keras` file to start from; None for what hyperparameters.model.weights says.
    on_epoch: is given each row as it is measured, and may end training by raising. A row holds
    phase, epoch, loss, accuracy, val_loss, val_accuracy, val_balanced_accuracy, learning_rate.
    cache: folder in which the features of frozen backbones are kept.
    Raises TrainingFailedError where the loss is no longer a number or the memory does not suffice,
    and UserError where the classifier cannot be built or started.
    """
    load_keras()
    import keras

    keras.backend.clear_session()  # names of layers begin anew, else equal networks differ
    keras.utils.set_random_seed(seed)
    model, wanted = hyperparameters.model, (data.class_names, data.size, data.resize)
    if weights:
        source = read_classifier(weights)
        classifier = warm_started(model, *wanted, source, model_id(weights))
    else:
        classifier = build_classifier(model, *wanted)
    # Fresh weights need no protection: no head phase, and batch normalisation must learn.
    pretrained = model.weights != "none"
    return _fit(classifier, data, hyperparameters.train, pretrained, seed, on_epoch, cache)


def _fit(
    classifier: Classifier,
    data: Data,
    train: Train,
    pretrained: bool,
    seed: int,
    on_epoch: OnEpoch,
    cache: Path,
) -> Trained:
    best = BestEpoch(classifier.model, train.early_stopping)
    history: list[Row] = []

    def report(row: Row) -> None:
        log.info("" + "  ".join(f"{key} {_short(value)}" for key, value in row.items()))
        history.append(row)
        on_epoch(row)

    with _memory_errors_named(train.batch_size):
        for phase in phases(classifier, data, train, pretrained, cache):
            _run_phase(phase, data.balance, train, seed, best, report)
            best.restore()
    log.info(f"kept {best.row['phase']} epoch {best.row['epoch']} of {len(history)}")
    return Trained(classifier, tuple(history), best.row)


def _run_phase(
    phase: Phase,
    balance: Balance,
    train: Train,
    seed: int,
    best: BestEpoch,
    report: OnEpoch,
) -> None:
    import keras

    loss = build_loss(train, balance.log_priors)
    steps = steps_per_epoch(balance, train.batch_size)
    optimizer = build_optimizer(phase, train.weight_decay, steps)
    phase.model.compile(optimizer, loss, metrics=["accuracy"])
    best.new_phase()

    def end(epoch: int, logs: dict[str, float]) -> None:
        rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        measured = {"loss": float(logs["loss"]), "accuracy": float(logs["accuracy"])}
        measured |= _measure(phase.model, phase.val, loss) | {"learning_rate": rate}
        row = {"phase": phase.name, "epoch": epoch + 1, **measured}
        _require_number(row)
        phase.model.stop_training = best.update(row)
        report(row)

    phase.model.fit(
        training_batches(phase.train, balance, train.batch_size, seed, phase.augment),
        epochs=phase.epochs,
        steps_per_epoch=steps,
        shuffle=False,  # the stream is shuffled already
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=end)],
        verbose=1 if sys.stdout.isatty() else 0,
    )


def _require_number(row: Row) -> None:
    if not (np.isfinite(row["loss"]) and np.isfinite(row["val_loss"])):
        raise TrainingFailedError(
            f"the loss is no longer a number in {row['phase']} epoch {row['epoch']}; lower "
            f"train.{row['phase']}.learning_rate. Received: loss {row['loss']}, val_loss "
            f"{row['val_loss']}"
        )


@contextmanager
def _memory_errors_named(batch_size: int) -> Iterator[None]:
    """Every backend has an error of its own for a lack of memory, but all say these words."""
    try:
        yield
    except Exception as error:
        if not re.search("RESOURCE_EXHAUSTED|ResourceExhausted|out of memory", repr(error)):
            raise
        raise TrainingFailedError(
            f"the device's memory does not suffice; lower train.batch_size or prepare.size. "
            f"Received: train.batch_size: {batch_size}"
        ) from None


def _measure(model: Any, val: Examples, loss: Loss) -> dict[str, float]:
    import keras

    logits = outputs(model, val.inputs)
    losses = keras.ops.convert_to_numpy(loss(val.labels, keras.ops.convert_to_tensor(logits)))
    predicted = logits.argmax(axis=1)
    return {
        "val_loss": float(np.mean(losses)),
        "val_accuracy": float(np.mean(predicted == val.labels)),
        "val_balanced_accuracy": balanced_accuracy(val.labels, predicted),
    }


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
