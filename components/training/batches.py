"""Images, labels and a balance plan → an endless, reproducible stream of training batches.

The only door to Grain. Position i of the stream is always the same augmented image, whatever the
number of threads: which image it is and how it is changed are functions of (seed, i).
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

    def load(place: int, generator: np.random.Generator) -> tuple[Any, ...]:
        index = _epoch_order(place // size)[place % size]
        pixels, label = examples.inputs[index], examples.labels[index]
        changed = augment(pixels, generator) if augment else pixels
        return changed, label, balance.class_weights[label]

    @lru_cache(maxsize=2)  # reading ahead crosses into the next epoch
    def _epoch_order(epoch: int) -> NDArray[np.int64]:
        return epoch_order(examples.labels, balance.targets, np.random.default_rng([seed, epoch]))

    # Shuffled by epoch_order, and never repeated: `repeat` would give every epoch the same
    # augmentation.
    places = grain.MapDataset.range(2**40).seed(seed)
    batched = places.random_map(load).batch(batch_size)
    return batched.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4))


def steps_per_epoch(balance: Balance, batch_size: int) -> int:
    """Return how many batches are nearest to one epoch; at least 1."""
    return max(1, round(balance.epoch_size / batch_size))


def epoch_order(
    labels: NDArray[np.int64], targets: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Draw targets[c] indices of every class c, as evenly as can be, in random order.

    Over-sampling shows every image equally often before one is shown again; under-sampling draws
    another part of a class in every epoch, so that no image is lost.
    """
    drawn = []
    for label, target in enumerate(targets):
        members = np.flatnonzero(labels == label)
        if target:
            rounds = [generator.permutation(members) for _ in range(-(-target // len(members)))]
            drawn.append(np.concatenate(rounds)[:target])
    return generator.permutation(np.concatenate(drawn))
