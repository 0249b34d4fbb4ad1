"""Labels and logits → one loss per image."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.params.train import Train

Loss = Callable[[Any, Any], Any]


def build_loss(train: Train, log_priors: NDArray[np.float32]) -> Loss:
    """Return the loss that `train.loss` names.

    log_priors: float32 [num_classes], natural log of the training frequencies.
    The loss maps (labels int [N], logits float [N, num_classes]) to float [N].
    """
    if train.loss == "focal":
        return focal(train.focal_gamma, train.label_smoothing)
    if train.loss == "logit_adjusted":
        return logit_adjusted(log_priors, train.logit_adjustment, train.label_smoothing)
    return cross_entropy(train.label_smoothing)


def cross_entropy(label_smoothing: float) -> Loss:
    """Softmax cross-entropy with label smoothing (Szegedy et al., 2016, section 7)."""
    from keras import ops

    def loss(labels: Any, logits: Any) -> Any:
        return -ops.sum(_targets(labels, logits, label_smoothing) * ops.log_softmax(logits), -1)

    return loss


def focal(gamma: float, label_smoothing: float) -> Loss:
    """Cross-entropy in which easy images weigh (1 - p)^gamma (Lin et al., 2017, eq. 4)."""
    from keras import ops

    def loss(labels: Any, logits: Any) -> Any:
        log_probabilities = ops.log_softmax(logits)
        # Not down to 0: there the slope of a root, gamma < 1, is infinite.
        weights = ops.maximum(1.0 - ops.exp(log_probabilities), 1e-7) ** gamma
        targets = _targets(labels, logits, label_smoothing)
        return -ops.sum(targets * weights * log_probabilities, -1)

    return loss


def logit_adjusted(log_priors: NDArray[np.float32], tau: float, label_smoothing: float) -> Loss:
    """Cross-entropy on logits shifted by tau * log prior (Menon et al., 2021, eq. 10).

    log_priors: float32 [num_classes], natural log of the training frequencies.
    """
    shift = tau * log_priors
    plain = cross_entropy(label_smoothing)

    def loss(labels: Any, logits: Any) -> Any:
        return plain(labels, logits + shift)

    return loss


def _targets(labels: Any, logits: Any, label_smoothing: float) -> Any:
    from keras import ops

    num_classes = logits.shape[-1]
    one_hot = ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), num_classes)
    return one_hot * (1.0 - label_smoothing) + label_smoothing / num_classes
