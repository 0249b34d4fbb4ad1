"""A network and the val split → the metrics of an epoch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.model.classifier import outputs
from components.model.recall import balanced_accuracy, mean_of_defined, ratio
from components.training.losses import Loss
from components.training_set.examples import Examples


def measure(model: Any, val: Examples, loss: Loss) -> dict[str, float]:
    """Return the metrics of a network on val, by name.

    model: a keras.Model whose outputs are logits. val: the examples. loss: the loss function of the
    training.
    """
    return measure_logits(outputs(model, val.inputs), val.labels, loss)


def measure_logits(
    logits: NDArray[np.float32], labels: NDArray[np.int64], loss: Loss
) -> dict[str, float]:
    """Return the metrics of logits, float32 [N, C], with labels, int64 [N], by name."""
    import keras

    losses = keras.ops.convert_to_numpy(loss(labels, keras.ops.convert_to_tensor(logits)))
    predicted = logits.argmax(axis=1)
    return {
        "val_loss": float(np.mean(losses)),
        "val_accuracy": float(np.mean(predicted == labels)),
        "val_balanced_accuracy": balanced_accuracy(labels, predicted),
        "val_macro_f1": macro_f1(labels, predicted),
    }


def macro_f1(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Return the mean F1 of the classes that occur in `labels`, as the stage `evaluate` does.

    labels: the true class indices, int64 [N], N > 0. predicted: the predicted class indices, int64
    [N].

    In the example both classes have the F1 2 * 1 / (1 + 2) = 2/3:

    >>> round(macro_f1(np.array([0, 0, 1]), np.array([0, 1, 1])), 3)
    0.667
    """
    classes = max(labels.max(), predicted.max()) + 1
    support = np.bincount(labels, minlength=classes)
    given = np.bincount(predicted, minlength=classes)
    hits = np.bincount(labels[labels == predicted], minlength=classes)
    occurs = support > 0
    return float(mean_of_defined(ratio(2 * hits, given + support)[occurs]))
