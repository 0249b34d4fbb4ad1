"""Labels and logits → the loss of each image."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.params.train import Train
from components.training_set.examples import Balance

Loss = Callable[[Any, Any], Any]


def build_loss(train: Train, balance: Balance) -> Loss:
    """Return the loss function that `train.loss` names.

    A loss function takes labels and logits float [N, C], and returns the losses of the images,
    float [N]. Labels are classes int [N], or the shares of all classes float [N, C], whose sum is
    1, as MixUp and CutMix make them. Every loss is linear in the shares: the loss of a mixed image
    is the mean of its losses for each of its classes, weighted by their shares.
    train: the section `train` of params.yaml. balance: the balance plan. Only the loss
    `logit_adjusted` uses its priors: the prior of a class is its share in the loss, that is target
    * weight of the class, divided by the sum of target * weight of all classes. Only the loss
    `cost_sensitive` uses its costs. `class_balanced_focal` is the focal loss here, because its
    weights come with the images, see `Balance.for_loss`.
    """
    if train.loss in ("focal", "class_balanced_focal"):
        return focal(train.focal_gamma, train.label_smoothing)
    if train.loss == "logit_adjusted":
        return logit_adjusted(balance.log_priors, train.logit_adjustment, train.label_smoothing)
    if train.loss == "cost_sensitive":
        return cost_sensitive(balance.costs, train.cost_weight, train.label_smoothing)
    return cross_entropy(train.label_smoothing)


def cross_entropy(label_smoothing: float) -> Loss:
    """Return the softmax cross-entropy with label smoothing (Szegedy et al., 2016, section 7).

    label_smoothing: a number s from 0 to 1. If there are C classes, the target of the right class
    is 1 - s + s / C, and the target of each other class is s / C.
    """
    from keras import ops

    def loss(labels: Any, logits: Any) -> Any:
        return -ops.sum(_targets(labels, logits, label_smoothing) * ops.log_softmax(logits), -1)

    return loss


def focal(gamma: float, label_smoothing: float) -> Loss:
    """Return the focal loss (Lin et al., 2017, eq. 4).

    The focal loss is the cross-entropy in which the term of each class is multiplied by
    (1 - p)^gamma; p is the predicted probability of the class. So if the network already classifies
    an image well, the focal loss of this image is much smaller than its cross-entropy.
    gamma: the exponent, 0 or more. label_smoothing: see `cross_entropy`.
    """
    from keras import ops

    def loss(labels: Any, logits: Any) -> Any:
        log_probabilities = ops.log_softmax(logits)
        # If 1 - p is below 1e-7, it is replaced by 1e-7. The reason is that the gradient of
        # (1 - p)^gamma would be infinite if 1 - p were 0 and gamma were below 1.
        weights = ops.maximum(1.0 - ops.exp(log_probabilities), 1e-7) ** gamma
        targets = _targets(labels, logits, label_smoothing)
        return -ops.sum(targets * weights * log_probabilities, -1)

    return loss


def logit_adjusted(log_priors: NDArray[np.float32], tau: float, label_smoothing: float) -> Loss:
    """Return the logit-adjusted loss (Menon et al., 2021, eq. 10).

    This loss function adds tau * log_priors to the logits, and then computes the cross-entropy.
    log_priors: the natural logarithms of the priors, float32 [C], see `build_loss`. tau: the
    strength of the adjustment, 0 or more. label_smoothing: see `cross_entropy`.
    """
    shift = tau * log_priors
    plain = cross_entropy(label_smoothing)

    def loss(labels: Any, logits: Any) -> Any:
        return plain(labels, logits + shift)

    return loss


def cost_sensitive(costs: NDArray[np.float32], weight: float, label_smoothing: float) -> Loss:
    """Return the cross-entropy plus the expected cost (Galdran et al., 2020).

    The expected cost of an image is the sum over all classes of predicted probability * cost. The
    costs are divided by the largest of them, so only their ratios matter, as for the decision with
    the lowest cost (Elkan, 2001).

    If the true probabilities of the classes are q, the probabilities with the lowest loss are
    proportional to q / (constant + weight * expected cost of deciding for the class). So with a
    weight of 0, the class of the highest q is predicted. The higher the weight, the nearer is the
    predicted class to that of the lowest expected cost. In between, a class that would cost much
    if it were wrong gets a probability that is too low.
    costs: float32 [C, C], see `cost_matrix`; at least one is above 0. weight: 0 or more.
    label_smoothing: see `cross_entropy`; the expected cost is that of the labels without smoothing.
    """
    from keras import ops

    scaled = costs / costs.max()
    plain = cross_entropy(label_smoothing)

    def loss(labels: Any, logits: Any) -> Any:
        of_decisions = ops.matmul(_targets(labels, logits, 0.0), ops.cast(scaled, logits.dtype))
        return plain(labels, logits) + weight * ops.sum(of_decisions * ops.softmax(logits), -1)

    return loss


def _targets(labels: Any, logits: Any, label_smoothing: float) -> Any:
    from keras import ops

    num_classes = logits.shape[-1]
    if len(labels.shape) == 2 and labels.shape[-1] == num_classes:
        shares = ops.cast(labels, logits.dtype)
        return shares * (1.0 - label_smoothing) + label_smoothing / num_classes
    one_hot = ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), num_classes)
    return one_hot * (1.0 - label_smoothing) + label_smoothing / num_classes
