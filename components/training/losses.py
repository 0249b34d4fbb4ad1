"""Labels and logits → one loss per image."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.params.train import Train

Loss = Callable[[Any, Any], Any]


def build_loss(train: Train, log_priors: NDArray[np.float32]) -> Loss:
    """Return the loss that `train.loss` names: (labels int [N], logits float [N, C]) → float [N].

    log_priors: float32 [C], natural logarithm of the share of each class in the loss, after
    sampling and class weights.
    """
    if train.loss == "focal":
        return focal(train.focal_gamma, train.label_smoothing)
    if train.loss == "logit_adjusted":
        return logit_adjusted(log_priors, train.logit_adjustment, train.label_smoothing)
    return cross_entropy(train.label_smoothing)


def cross_entropy(label_smoothing: float) -> Loss:
    """Return softmax cross-entropy with label smoothing (Szegedy et al., 2016, section 7)."""
    from keras import ops

    def loss(labels: Any, logits: Any) -> Any:
        return -ops.sum(_targets(labels, logits, label_smoothing) * ops.log_softmax(logits), -1)

    return loss


def focal(gamma: float, label_smoothing: float) -> Loss:
    """Return cross-entropy times (1 - p)^gamma; p is the predicted probability of the class.

    Images that the network already classifies well count less (Lin et al., 2017, eq. 4).
    """
    from keras import ops

    def loss(labels: Any, logits: Any) -> Any:
        log_probabilities = ops.log_softmax(logits)
        # The base is at least 1e-7. At 0 the gradient of the power is infinite if gamma < 1.
        weights = ops.maximum(1.0 - ops.exp(log_probabilities), 1e-7) ** gamma
        targets = _targets(labels, logits, label_smoothing)
        return -ops.sum(targets * weights * log_probabilities, -1)

    return loss


def logit_adjusted(log_priors: NDArray[np.float32], tau: float, label_smoothing: float) -> Loss:
    """Return cross-entropy on logits plus tau * log prior (Menon et al., 2021, eq. 10).

    log_priors: float32 [C], natural logarithm of the share of each class in the loss, after
    sampling and class weights.
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
