"""Hyperparameters and data → a trained classifier and the metrics of all its epochs.

Training has one or two phases: `head` trains only the head, and `finetune` also trains blocks of
the backbone. The classifier gets the weights of its best epoch, which can be an epoch of any phase,
or a mean of the weights of several epochs, see soup.py.
"""

import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from components.model.backend import load_keras
from components.model.classifier import Classifier
from components.model.devices import on_devices
from components.params.hyperparameters import Hyperparameters
from components.params.train import Train
from components.training.augmentation import build_augmentation
from components.training.averaging import averaged, refresh_statistics
from components.training.batches import Stream, steps_per_epoch
from components.training.best_epoch import BestEpoch, Row, Weights
from components.training.checkpoints import Checkpoints
from components.training.epoch_loops import fit_from_feed, fit_in_memory
from components.training.limits import (
    TrainingFailedError,
    check_several,
    check_updates,
    check_views,
    report_lack_of_memory,
)
from components.training.losses import build_loss
from components.training.machines import ALONE, Machines
from components.training.measuring import measure
from components.training.memory import require_memory
from components.training.mixing import build_mixing
from components.training.optimizers import build_optimizer, lower_rate
from components.training.phase_report import PhaseReport
from components.training.phases import Phase, phases
from components.training.precision import trained_in
from components.training.soup import add_soup
from components.training.starts import Backbones, start_classifier
from components.training.training_state import RATE_CUTS, OnEpoch, TrainingState
from components.training_set.examples import Balance, Data
from components.words import count_text

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A trained classifier and the metrics of its training.

    classifier: the classifier with the weights of its best epoch. history: a row for each epoch, in
    the order of training. best: the row of the best epoch; if the weights are a mean over epochs,
    it has the metrics of this mean on val. A row is a dict with the metrics of an epoch, see
    `train_classifier`.
    """

    classifier: Classifier
    history: tuple[Row, ...]
    best: Row


def train_classifier(
    hyperparameters: Hyperparameters,
    data: Data,
    weights: Path | None,
    on_epoch: OnEpoch,
    cache: Path,
    checkpoints: Checkpoints | None = None,
    machines: Machines = ALONE,
    until: int | None = None,
    backbones: Backbones | None = None,
) -> Trained:
    """Build a classifier and train it. On a CPU equal arguments give equal weights.

    With `checkpoints`, the state is written after each epoch. A training that was stopped goes on
    after its last epoch, and ends with the same weights and the same history as one that was not
    stopped. If a loss is not a finite number, the training goes back to the end of the epoch before
    and divides the learning rate of the phase by 10, at most twice in a phase. Without
    `checkpoints`, as in the trials of a search, such a loss ends the training at once.

    hyperparameters: the sections `model` and `train` of params.yaml. data: the images and labels.
    weights: the `.keras` file with the weights at the start; None if hyperparameters.model.weights
        is `none` (random weights) or `imagenet` (ImageNet weights).
    on_epoch: a function that is called after each epoch with the row of the epoch. A row has the
        keys phase, epoch, loss, accuracy, the metrics of `measure`, learning_rate and rate_cuts
        (how often the learning rate was divided by 10). It also has images_per_s and waiting_share,
        see `PhaseReport.end_steps`; the history does not have these two, because they depend on the
        machine. The function is also called for the epochs
        before a stop, without these two, so that it gets all epochs. If the function raises an
        exception, training ends with this exception.
    cache: the folder for the features of frozen backbones.
    checkpoints: the checkpoints of this training, or None.
    machines: the machines that train together, see `joined`. Each must call this function with
        equal arguments, and gets equal weights. Only machine 0 reads and writes checkpoints.
    until: stop after this number of epochs of the phase `finetune`, with a checkpoint from which a
        later call with a larger number, or None, goes on. A call with a smaller number begins anew.
        The learning rate is that of a training with all epochs. None: train all epochs.
    backbones: those that earlier trainings of this process have built. A training without the phase
        `finetune` uses them again. None: build the backbone.

    Raises TrainingFailedError if an epoch has too few batches for an update of the weights, if a
    loss is not a finite number, if the memory of the device is too small, or if the features of all
    views are too large. Raises UserError if the file `weights` cannot be read, if the classifier
    cannot be built, if a checkpoint cannot be written, or if FOVEA_DEVICES is wrong.
    """
    load_keras(hyperparameters.train.threads)
    import keras

    # Keras counts the layers that a process creates, and puts the count into the name of a layer.
    # The counters are reset here, so that equal networks have layers with equal names. This also
    # resets the devices of Keras, so it must come before `on_devices`.
    keras.backend.clear_session()
    train = hyperparameters.train
    data = replace(data, balance=data.balance.for_loss(train.loss))
    check_updates(train, steps_per_epoch(data.balance, train.batch_size))
    with on_devices(train.batch_size, train.accumulate) as devices:
        check_several(train, devices, machines.count)
        classifier = start_classifier(hyperparameters, data, weights, backbones)
        best = BestEpoch(classifier.model, train.early_stopping)
        state = TrainingState(classifier.model, best, checkpoints, on_epoch, machines)
        with trained_in(train.precision, classifier):
            return _fit(classifier, data, hyperparameters, cache, state, devices, until)


def _fit(
    classifier: Classifier,
    data: Data,
    hyperparameters: Hyperparameters,
    cache: Path,
    state: TrainingState,
    devices: int,
    until: int | None,
) -> Trained:
    train, pretrained = hyperparameters.train, hyperparameters.model.pretrained
    if train.batch_size > data.balance.epoch_size:
        log.warning(
            f"a batch has more images than an epoch, which has {data.balance.epoch_size:,}, so it "
            "has each image several times; lower train.batch_size. "
            f"Received: train.batch_size: {train.batch_size}"
        )
    state.resume(until)
    best, finished = state.best, state.finished_phases()
    if pretrained and train.head.epochs:
        check_views(train, len(data.train), classifier.backbone.output_shape[-1])
    with report_lack_of_memory(train, state):
        for phase in phases(classifier, data, train, pretrained, cache, finished):
            end = phase.epochs if until is None or phase.name == "head" else until
            _run_phase(phase, data.balance, train, state, devices, min(end, phase.epochs))
            best.restore()
        log.info(
            f"the best of {count_text(len(state.history), 'epoch')} is epoch {best.row['epoch']} "
            f"of the phase `{best.row['phase']}`; the model gets the weights of this epoch"
        )
        if state.ingredients and state.ended:
            _make_soup(classifier, data, train, state)
    return Trained(classifier, tuple(state.history), best.row)


def _make_soup(classifier: Classifier, data: Data, train: Train, state: TrainingState) -> None:
    """Average the weights of the last epochs of the phase `finetune`, if it pays on val."""
    loss = build_loss(train, data.balance)
    model, best = classifier.logits_model, state.best
    policy = build_augmentation(train.augmentation)
    stream = Stream(data.train, data.balance, train.batch_size, train.seed, policy)
    steps = steps_per_epoch(data.balance, train.batch_size)

    def measured(weights: Weights) -> tuple[Weights, Row]:
        classifier.model.set_weights(weights)
        refresh_statistics(model, stream, steps)
        return classifier.model.get_weights(), measure(model, data.val, loss)

    add_soup(best, state.ingredients, state.history[-len(state.ingredients) :], measured)
    best.restore()


def _run_phase(
    phase: Phase, balance: Balance, train: Train, state: TrainingState, devices: int, end: int
) -> None:
    """Train until epoch `end` of the phase, with a lower learning rate if a loss is not finite."""
    state.begin(phase.name)
    if state.epoch >= end:
        return
    require_memory(phase.model, train.batch_size // state.machines.count)
    report = _phase_report(phase, balance, train, state)
    with report.shown():
        while failed := _fit_phase(phase, balance, train, state, devices, end, report):
            advice = _loss_words(failed, state.rate_cuts)
            if not state.back_off():
                raise TrainingFailedError(
                    f"{advice}; lower train.{phase.name}.learning_rate. "
                    f"Received: loss {failed['loss']}, val_loss {failed['val_loss']}"
                )
            log.warning(
                f"{advice}; training goes back to the end of epoch {state.epoch}, and goes on with "
                f"a tenth of the learning rate (time {state.rate_cuts} of at most {RATE_CUTS})"
            )


def _phase_report(
    phase: Phase, balance: Balance, train: Train, state: TrainingState
) -> PhaseReport:
    steps = steps_per_epoch(balance, train.batch_size)
    return PhaseReport(
        phase=phase.name,
        epochs=phase.epochs,
        images=steps * train.batch_size,
        steps=steps,
        monitor=train.early_stopping.monitor,
        later=train.finetune.epochs if phase.name == "head" else 0,
        rows=[row for row in state.history if row["phase"] == phase.name],
    )


def _fit_phase(
    phase: Phase,
    balance: Balance,
    train: Train,
    state: TrainingState,
    devices: int,
    end: int,
    report: PhaseReport,
) -> Row | None:
    """Train from the state until epoch `end`. Return an epoch whose loss is not finite."""
    import keras

    loss = build_loss(train, balance)
    steps = steps_per_epoch(balance, train.batch_size)
    rate = phase.learning_rate / 10**state.rate_cuts
    lowered = replace(phase, learning_rate=rate)
    optimizer = build_optimizer(lowered, train, steps)
    phase.model.compile(optimizer, loss, metrics=["accuracy"])
    optimizer.build(phase.model.trainable_variables)
    state.continue_with([*optimizer.variables, *phase.state])
    first, machines = state.epoch, state.machines
    failed: list[Row] = []

    stream = _build_stream(phase, balance, train, machines)
    refresh = partial(refresh_statistics, phase.model, stream, steps)

    def end_epoch(epoch: int, logs: dict[str, float]) -> None:
        speed = report.end_steps()
        rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        trained = {"loss": float(logs["loss"]), "accuracy": float(logs["accuracy"])}
        trained["learning_rate"] = rate
        with averaged(optimizer, phase.model, refresh):
            measured = machines.from_first(lambda: trained | measure(phase.model, phase.val, loss))
            row: Row = {
                "phase": phase.name,
                "epoch": epoch + 1,
                **measured,
                "rate_cuts": state.rate_cuts,
            }
            if not (np.isfinite(row["loss"]) and np.isfinite(row["val_loss"])):
                failed.append(row)
                phase.model.stop_training = True
                return
            phase.model.stop_training = state.best.update(row)
        over = phase.model.stop_training or row["epoch"] == phase.epochs
        lower_rate(optimizer, state.best.waited, train.early_stopping.patience, phase.epochs)
        if phase.name == "finetune":
            state.keep_ingredient(train.average.soup)
        report.end_epoch(row, over)
        state.end_epoch(row, over, speed, pause=row["epoch"] == end)

    epochs = range(first, end)
    if phase.in_memory and devices == 1:
        fit_in_memory(phase, stream, optimizer, loss, epochs, steps, end_epoch, report)
    else:
        fit_from_feed(phase, stream, epochs, steps, end_epoch, report)
    return failed[0] if failed else None


def _build_stream(phase: Phase, balance: Balance, train: Train, machines: Machines) -> Stream:
    """Return the stream of the training batches of a phase, of which this machine takes a share."""
    steps = steps_per_epoch(balance, train.batch_size)
    return Stream(
        phase.train,
        balance,
        train.batch_size,
        train.seed,
        phase.policy,
        variants=phase.variants,
        share=(machines.number, machines.count),
        mixing=build_mixing(train, len(balance.targets), steps) if phase.policy else None,
    )


def _loss_words(row: Row, rate_cuts: int) -> str:
    cut = f", even with the learning rate divided by {10**rate_cuts}" if rate_cuts else ""
    return (
        f"the loss is no longer a number in epoch {row['epoch']} of the phase `{row['phase']}`{cut}"
    )
