"""Hyperparameters and data → the loss at each learning rate, and a rate to train with.

Method: the learning rate range test (Smith, 2017). A phase is trained for some batches, while the
rate rises from far too low to far too high. The network is thrown away.

A new network or a new head: at first the loss stays, then it falls, and at last it rises. When the
rise shows, the rate is already far too high, because it first has to undo what the lower rates have
gained. So a tenth of the highest rate with the lowest loss is a good rate (Gugger, 2018).

A pretrained network with a trained head: often the loss stays, and then it rises, because so few
batches cannot make it better. Then nothing hides the rise, and the last rate before it is the
suggestion (Smith, 2017), but the test cannot say more. With TrashNet at 112 pixels and three seeds
this is 0.0002, 0.0005 and 0.0008; there 0.0003 to 0.001 are good rates.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from components.errors import UserError
from components.model.backend import load_keras
from components.model.classifier import Classifier
from components.params.hyperparameters import Hyperparameters
from components.progress import track
from components.training.batches import Stream, steps_per_epoch
from components.training.feeding import Feed, worker_count
from components.training.limits import check_updates
from components.training.losses import build_loss
from components.training.optimizers import build_optimizer
from components.training.phases import Phase, phases
from components.training.starts import start_classifier
from components.training.training import train_classifier
from components.training_set.examples import Data

log = logging.getLogger(__name__)

LOWEST, HIGHEST = 1e-6, 1.0  # learning rates
UPDATES = 80  # of the weights, from the lowest rate to the highest
DIVERGED = 4.0  # the test ends if the averaged loss is so many times the lowest averaged loss
WINDOW = 9.0  # batches over which the loss is averaged: the losses of single batches differ
MARGIN = 10.0  # if the loss falls: the rate with the lowest loss, divided by the rate to train with
# The loss falls if its fall is larger than so many times its noise. The lowest of many averages is
# often two times the noise below their mean, although nothing falls.
FALL = 4.0

# Overrides for a training without the phase `finetune`, and without what needs this phase.
ONLY_HEAD = {
    "train.finetune.epochs": 0,
    "train.mixup": 0.0,
    "train.cutmix": 0.0,
    "train.average.soup": 0,
}

Name = Literal["head", "finetune"]


@dataclass(frozen=True)
class RateCurve:
    """The loss at each learning rate.

    phase: the name of the phase. rates: the learning rates, float64 [N], rising. losses: the loss
    of the batch at each rate, float64 [N]. smoothed: the losses, averaged over their neighbours.
    """

    phase: Name
    rates: NDArray[np.float64]
    losses: NDArray[np.float64]

    @property
    def smoothed(self) -> NDArray[np.float64]:
        """Return the losses, averaged over their neighbours by a Gaussian kernel, float64 [N]."""
        places = np.arange(len(self.losses))
        distances = (places[:, None] - places[None, :]) / (WINDOW / 3)
        kernel = np.exp(-0.5 * distances**2)
        averages: NDArray[np.float64] = kernel @ self.losses / kernel.sum(axis=1)
        return averages

    @property
    def start(self) -> float:
        """Return the loss before the first rate that changes it."""
        return fmean(self.losses[: round(WINDOW)])

    @property
    def noise(self) -> float:
        """Return the standard deviation of an averaged loss, by the distances of the single ones.

        It is computed from their median, so a few losses at rates that are too high do not count.
        """
        distances = np.abs(self.losses - self.smoothed)
        return 1.48 * float(np.median(distances)) / math.sqrt(WINDOW)

    @property
    def falls(self) -> bool:
        """Return True if a rate lowers the averaged loss by more than its noise."""
        return bool(self.start - self.smoothed.min() > FALL * self.noise)

    @property
    def best(self) -> int:
        """Return the place of the highest rate whose loss is as low as the lowest, but for noise.

        If the loss falls at no rate, this is the last rate before it surely rises: the highest
        whose loss is as low as at the start, but for the noise of the difference of two averages.
        """
        return int(np.flatnonzero(self.smoothed <= self.as_low)[-1])

    @property
    def as_low(self) -> float:
        """Return the highest averaged loss that can be as low as the one that `best` is about."""
        lowest = float(self.smoothed.min())
        if self.falls:
            return lowest + 2 * self.noise
        return max(lowest, self.start + 2 * math.sqrt(2) * self.noise)

    @property
    def suggestion(self) -> float:
        """Return the rate to train with, rounded to one digit.

        The loss falls. It is lowest at 0.01, and up to 0.016 it differs from this less than by the
        noise. So the rate is a tenth of 0.016:

        >>> rates = np.geomspace(1e-6, 1, 81)
        >>> RateCurve("head", rates, 1 + (np.log10(rates) + 2) ** 2).suggestion
        0.002
        """
        return float(f"{self.rates[self.best] / (MARGIN if self.falls else 1):.0e}")


def find_rate(
    hyperparameters: Hyperparameters, data: Data, weights: Path | None, cache: Path, name: Name
) -> RateCurve:
    """Measure the loss at each learning rate of a phase.

    Before the phase `finetune`, the phase `head` is trained as usual, if there is one.
    hyperparameters, data, weights, cache: as for `train_classifier`. name: the name of the phase.
    Raises UserError if the training would not have this phase, and in the cases of
    `train_classifier`, of which too few batches for an update are found before any training.
    """
    train = hyperparameters.train
    pretrained = hyperparameters.model.pretrained
    if not getattr(train, name).epochs:
        raise UserError(
            f"the training has no phase `{name}`; choose the other phase, or raise "
            f"train.{name}.epochs. Received: 0 epochs"
        )
    if name == "head" and not pretrained:
        raise UserError(
            "the training has no phase `head`, because the backbone is not trained; choose the "
            "phase finetune, or model.weights that are trained. Received: model.weights: none"
        )
    check_updates(train, steps_per_epoch(data.balance, train.batch_size))
    load_keras(train.threads)
    if name == "finetune" and pretrained and train.head.epochs:
        only_head = hyperparameters.with_overrides(ONLY_HEAD)
        classifier = train_classifier(only_head, data, weights, lambda row: None, cache).classifier
    else:
        classifier = start_classifier(hyperparameters, data, weights)
    return _measure(classifier, hyperparameters, data, cache, name)


def _measure(
    classifier: Classifier, hyperparameters: Hyperparameters, data: Data, cache: Path, name: Name
) -> RateCurve:
    train, pretrained = hyperparameters.train, hyperparameters.model.pretrained
    data = replace(data, balance=data.balance.for_loss(train.loss))
    finished = ("head",) if name == "finetune" else ()
    phase = next(phases(classifier, data, train, pretrained, cache, finished))
    # All blocks are trained, as in the last stage.
    phase = replace(phase, stages=1, schedule="cosine")
    stream = Stream(
        phase.train, data.balance, train.batch_size, train.seed, phase.policy, phase.variants
    )
    batches = UPDATES * train.accumulate
    model, rates = _compile(phase, hyperparameters, data, batches)
    losses: list[float] = []
    with Feed(stream, worker_count() if phase.policy else 0) as feed:
        numbered = track(range(batches), "batches", batches)
        for _, (inputs, labels, factors) in zip(numbered, feed, strict=False):
            model.reset_metrics()
            losses.append(float(model.train_on_batch(inputs, labels, sample_weight=factors)))
            if is_over(losses):
                break
    finite = [loss for loss in losses if math.isfinite(loss)]
    return RateCurve(name, rates[: len(finite)], np.array(finite))


def is_over(losses: Sequence[float]) -> bool:
    """Return True if the last loss is no number, or if the averaged loss is far above its lowest.

    The loss of a single batch can be near 0 by luck, as with the focal loss. So it does not count.

    >>> is_over([0.5, 0.01] * 9), is_over([0.5, 0.01] * 9 + [2.0] * 9)
    (False, True)
    """
    window = round(WINDOW)
    means = [fmean(losses[end - window : end]) for end in range(window, len(losses) + 1)]
    return not math.isfinite(losses[-1]) or (bool(means) and means[-1] > DIVERGED * min(means))


def _compile(
    phase: Phase, hyperparameters: Hyperparameters, data: Data, batches: int
) -> tuple[Any, NDArray[np.float64]]:
    """Compile the network of the phase. Return it, and the learning rate of each batch."""
    import keras

    train = hyperparameters.train
    factor = (HIGHEST / LOWEST) ** (1 / (batches - 1))
    optimizer = build_optimizer(phase, train, batches)
    optimizer.learning_rate = keras.optimizers.schedules.ExponentialDecay(LOWEST, 1, factor)
    phase.model.compile(optimizer, build_loss(train, data.balance))
    return phase.model, LOWEST * factor ** np.arange(batches)
