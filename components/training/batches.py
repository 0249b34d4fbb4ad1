"""Images, labels and a balance plan → an endless, reproducible stream of training batches.

Guarantee: the augmented image at position i of the stream depends only on (seed, i), and not on the
number of threads. This holds for the choice of the image and for its random changes.

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
    """Return an endless Grain dataset of (inputs [B, …], labels int64 [B], weights float32 [B]).

    B is batch_size. augment: None leaves the inputs unchanged.
    """
    import grain

    size = balance.epoch_size

    def load(position: int, generator: np.random.Generator) -> tuple[Any, ...]:
        index = order_of_epoch(position // size)[position % size]
        pixels, label = examples.inputs[index], examples.labels[index]
        changed = augment(pixels, generator) if augment else pixels
        return changed, label, balance.class_weights[label]

    @lru_cache(maxsize=2)  # Grain reads ahead, so it may need the current and the next epoch.
    def order_of_epoch(epoch: int) -> NDArray[np.int64]:
        return epoch_order(examples.labels, balance.targets, np.random.default_rng([seed, epoch]))

    # `shuffle` is not needed, since epoch_order shuffles. `repeat` would be wrong, since it would
    # change an image in the same way in every epoch.
    positions = grain.MapDataset.range(2**40).seed(seed)
    batched = positions.random_map(load).batch(batch_size)
    return batched.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4))


def steps_per_epoch(balance: Balance, batch_size: int) -> int:
    """Return the number of images in an epoch / batch_size, rounded; at least 1.

    >>> even = np.ones(2, np.float32)
    >>> steps_per_epoch(Balance(np.array([70, 30]), class_weights=even, log_priors=even), 32)
    3
    """
    return max(1, round(balance.epoch_size / batch_size))


def epoch_order(
    labels: NDArray[np.int64], targets: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Draw targets[c] image indices of every class c, and return them in random order.

    labels: int64 [N]. targets: int64 [C]. Returns int64 [sum of targets].
    If a class has fewer images than its target (over-sampling), every image is drawn before an
    image is drawn again. If a class has more images (under-sampling), every epoch draws another
    random part of the class.

    Class 0 has two images, and class 1 has one image, which is drawn twice:

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
