"""A phase and its stream of batches → epochs of training: in one call each, or batch by batch."""

from collections.abc import Callable
from typing import Any

import numpy as np

from components.training.batches import Stream
from components.training.compiled_epochs import compile_epoch
from components.training.feeding import Feed, worker_count
from components.training.losses import Loss
from components.training.phase_report import PhaseReport
from components.training.phases import Phase

# takes the number of the epoch from 0 up, and its loss and accuracy
EndEpoch = Callable[[int, dict[str, float]], None]


def fit_in_memory(
    phase: Phase,
    stream: Stream,
    optimizer: Any,
    loss: Loss,
    epochs: range,
    steps: int,
    end_epoch: EndEpoch,
    report: PhaseReport,
) -> None:
    """Train in one compiled call per epoch, see compiled_epochs.py.

    optimizer: an optimizer that is built for the trainable variables of `phase.model`. epochs: the
    epochs to train, counted from 0. steps: the batches of an epoch. end_epoch: is called after each
    epoch. It sets `phase.model.stop_training` if the phase is over.
    """
    train_epoch = compile_epoch(phase.model, optimizer, loss, phase.train)
    for epoch in epochs:
        report.begin_epoch(None)
        rows = np.stack([stream.rows(epoch * steps + step) for step in range(steps)])
        mean, accuracy = train_epoch(rows, stream.weights(rows))
        end_epoch(epoch, {"loss": mean, "accuracy": accuracy})
        if phase.model.stop_training:
            break


def fit_from_feed(
    phase: Phase,
    stream: Stream,
    epochs: range,
    steps: int,
    end_epoch: EndEpoch,
    report: PhaseReport,
) -> None:
    """Train with the `fit` of Keras, on batches that are computed ahead of time.

    The arguments are those of `fit_in_memory`; the optimizer is that of the compiled model.
    """
    _create_metrics(phase.model, stream)
    # Without random changes, a batch is computed faster than a worker process could send it.
    with Feed(stream, worker_count() if phase.policy else 0, steps * epochs.start) as batches:
        phase.model.fit(
            iter(batches),
            initial_epoch=epochs.start,
            epochs=epochs.stop,
            steps_per_epoch=steps,
            shuffle=False,  # A stream is shuffled already.
            callbacks=[_callback(report, batches, end_epoch)],
            verbose=0,
        )


def _create_metrics(model: Any, stream: Stream) -> None:
    """On TensorFlow, let Keras create the variables of its metrics before it compiles a step.

    TensorFlow compiles a step twice if compiling it creates variables. JAX does not.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    outputs = np.zeros((1, model.output_shape[-1]), np.float32)
    labels = outputs if stream.mixing else np.zeros(1, np.int64)
    model.compute_metrics(None, labels, outputs)
    model.reset_metrics()


def _callback(report: PhaseReport, source: Feed, end_epoch: EndEpoch) -> Any:
    import keras

    class Callback(keras.callbacks.Callback):  # type: ignore[misc]
        # Then Keras waits for the loss of a step in another thread, and training goes on.
        async_safe = True

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            report.begin_epoch(source)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            report.end_step(batch + 1, logs["loss"])

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            end_epoch(epoch, logs)

    return Callback()
