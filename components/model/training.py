"""Classifier, examples and a plan → the same classifier, trained, and its history.

Two phases, LP-FT (Kumar et al., 2022): the head on features of the frozen backbone, then the upper
share of the backbone together with the head at a small rate. The best epoch of both is kept.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components import params
from components.errors import UserError
from components.model.augmentation import build_augmentation
from components.model.backend import load_keras
from components.model.batches import Balance, Examples, steps_per_epoch, training_batches
from components.model.checkpoints import model_id, read_classifier
from components.model.classifier import Classifier, build_classifier, outputs, warm_start
from components.model.features import frozen_features
from components.model.losses import Loss, build_loss
from components.progress import say

Row = dict[str, Any]
OnEpoch = Callable[[Row], None]


@dataclass(frozen=True)
class Data:
    """What training sees.

    images [N, size, size, 3] and labels of train and val, the plan for train, the class names and
    way of resizing, and `content`, a hash that names the images.
    """

    train: Examples
    val: Examples
    balance: Balance
    class_names: tuple[str, ...]
    size: int
    resize: str
    content: str


@dataclass(frozen=True)
class Trained:
    """A classifier at its best epoch; the history, a row an epoch; the best epoch's row."""

    classifier: Classifier
    history: tuple[Row, ...]
    best: Row


def train_classifier(
    hyperparameters: params.Hyperparameters,
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
    Raises UserError where the loss is no longer a number or the memory does not suffice.
    """
    load_keras()
    import keras

    keras.backend.clear_session()  # a search would keep the network of every trial
    keras.utils.set_random_seed(seed)
    classifier = build_classifier(hyperparameters.model, data.class_names, data.size, data.resize)
    if weights:
        classifier = warm_start(classifier, read_classifier(weights), model_id(weights))
    # Fresh weights need no protection: no head phase, and batch normalisation must learn.
    pretrained = hyperparameters.model.weights != "none"
    return _fit(classifier, data, hyperparameters.train, pretrained, seed, on_epoch, cache)


def _fit(
    classifier: Classifier,
    data: Data,
    train: params.Train,
    pretrained: bool,
    seed: int,
    on_epoch: OnEpoch,
    cache: Path,
) -> Trained:
    best = _Best(classifier.model, train.early_stopping)
    history: list[Row] = []

    def report(row: Row) -> None:
        say("  ".join(f"{key} {_short(value)}" for key, value in row.items()))
        history.append(row)
        on_epoch(row)

    for phase in _phases(classifier, data, train, pretrained, cache):
        _run_phase(phase, data.balance, train, seed, best, report)
        best.restore()
    return Trained(classifier, tuple(history), best.row)


def balanced_accuracy(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Return the mean recall of the classes that occur among the labels."""
    return float(np.mean([np.mean(predicted[labels == c] == c) for c in np.unique(labels)]))


@dataclass(frozen=True)
class _Phase:
    name: str
    model: Any
    train: Examples
    val: Examples
    epochs: int
    learning_rate: float
    warmup: float
    augment: Any


def _phases(
    classifier: Classifier, data: Data, train: params.Train, pretrained: bool, cache: Path
) -> Iterator[_Phase]:
    """Yield the phases; a generator, since features and freezing must wait for their turn."""
    head, finetune = train.head, train.finetune
    if pretrained and head.epochs:
        seen = frozen_features(classifier, data.train, f"{data.content}/train", cache)
        held_out = frozen_features(classifier, data.val, f"{data.content}/val", cache)
        rate = head.learning_rate
        yield _Phase("head", classifier.head, seen, held_out, head.epochs, rate, 0.0, None)
    if finetune.epochs:
        freeze(classifier.backbone, finetune.unfreeze, hold_normalization=pretrained)
        augment = build_augmentation(train.augmentation)
        rate, warmup = finetune.learning_rate, finetune.warmup
        model = classifier.logits_model
        yield _Phase(
            "finetune", model, data.train, data.val, finetune.epochs, rate, warmup, augment
        )


def freeze(backbone: Any, unfreeze: float, hold_normalization: bool) -> None:
    """Make the upper share `unfreeze` of the layers with weights trainable, and no other.

    hold_normalization: keep BatchNormalization frozen, which holds it in inference mode: statistics
    of small batches would ruin what it learned on millions of images.
    """
    layers = [layer for layer in _leaves(backbone) if layer.weights]
    first = round(len(layers) * (1 - unfreeze))
    for position, layer in enumerate(layers):
        held = hold_normalization and type(layer).__name__ == "BatchNormalization"
        layer.trainable = position >= first and not held


def _leaves(layer: Any) -> Iterator[Any]:
    inner = getattr(layer, "layers", None)
    if inner is None:
        yield layer
    else:
        for part in inner:
            yield from _leaves(part)


def _run_phase(
    phase: _Phase,
    balance: Balance,
    train: params.Train,
    seed: int,
    best: "_Best",
    report: OnEpoch,
) -> None:
    import keras

    loss = build_loss(train, balance.log_priors)
    steps = steps_per_epoch(balance, train.batch_size)
    optimizer = _optimizer(phase, train.weight_decay, steps)
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

    with _memory_errors_named(train.batch_size):
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
        raise UserError(
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
        raise UserError(
            f"the device's memory does not suffice; lower train.batch_size or prepare.size. "
            f"Received: train.batch_size: {batch_size}"
        ) from None


def _optimizer(phase: _Phase, weight_decay: float, steps: int) -> Any:
    """AdamW (Loshchilov and Hutter, 2019), linear warm-up, then half a cosine down to 0."""
    import keras

    total = phase.epochs * steps
    warmup = round(total * phase.warmup)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else phase.learning_rate,
        decay_steps=max(1, total - warmup),
        warmup_target=phase.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


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


@dataclass
class _Best:
    """The weights of the best epoch so far, and when to stop looking for a better one."""

    model: Any
    rule: params.EarlyStopping
    value: float = -np.inf
    row: Row = field(default_factory=dict)
    weights: list[NDArray[Any]] = field(default_factory=list)
    waited: int = 0

    def new_phase(self) -> None:
        self.waited = 0

    def update(self, row: Row) -> bool:
        """Take the epoch into account; return whether to stop."""
        value = row[self.rule.monitor]
        value = -value if self.rule.monitor == "val_loss" else value
        if value > self.value:
            self.value, self.row, self.waited = value, row, 0
            self.weights = self.model.get_weights()
        else:
            self.waited += 1
        return self.waited > self.rule.patience

    def restore(self) -> None:
        if self.weights:
            self.model.set_weights(self.weights)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
