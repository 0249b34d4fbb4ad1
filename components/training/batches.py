"""Images, labels and a balance plan → an endless, reproducible stream of training batches.

Guarantee: position i of the stream is always the same augmented image, whatever the number of
threads: which image it is, and how it is changed, are functions of (seed, i).

Only this module imports Grain.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.training.augmentation import Augment
from components.training_set.examples import Balance, Examples


def training_batches(
    examples: Examples, balance: Balance, batch_size: int, seed: int, augment: Augment | None
) -> Any:
    """Return an endless Grain dataset of (inputs [B, …], labels int64 [B], weights float32 [B])."""
    import grain

    size = balance.epoch_size

    def load(position: int, generator: np.random.Generator) -> tuple[Any, ...]:
        index = order_of_epoch(position // size)[position % size]
        pixels, label = examples.inputs[index], examples.labels[index]
        changed = augment(pixels, generator) if augment else pixels
        return changed, label, balance.class_weights[label]

    @lru_cache(maxsize=2)  # reading ahead needs the next epoch, too
    def order_of_epoch(epoch: int) -> NDArray[np.int64]:
        return epoch_order(examples.labels, balance.targets, np.random.default_rng([seed, epoch]))

    # No `shuffle`, since epoch_order shuffles. No `repeat`, since it would change an image in the
    # same way in every epoch.
    positions = grain.MapDataset.range(2**40).seed(seed)
    batched = positions.random_map(load).batch(batch_size)
    return batched.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4))


def steps_per_epoch(balance: Balance, batch_size: int) -> int:
    """Return the number of batches that is nearest to one epoch; at least 1.

    >>> even = np.ones(2, np.float32)
    >>> steps_per_epoch(Balance(np.array([70, 30]), class_weights=even, log_priors=even), 32)
    3
    """
    return max(1, round(balance.epoch_size / batch_size))


def epoch_order(
    labels: NDArray[np.int64], targets: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Draw targets[c] indices of every class c, in random order.

    If a class has fewer images than its target (over-sampling), every image is drawn before an
    image is drawn again. If it has more (under-sampling), every epoch draws another part of them,
    so that no image is lost.

    Class 0 has two images, class 1 has one:

    >>> labels, targets = np.array([0, 0, 1]), np.array([2, 2])
    >>> sorted(epoch_order(labels, targets, np.random.default_rng(0)).tolist())
    [0, 1, 2, 2]
    """
    drawn = []
    for label, target in enumerate(targets):
        members = np.flatnonzero(labels == label)
        if target:
            rounds = [generator.permutation(members) for _ in range(-(-target // len(members)))]
            drawn.append(np.concatenate(rounds)[:target])
    return generator.permutation(np.concatenate(drawn))
