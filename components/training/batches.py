"""Images, labels and a balance plan → an endless, reproducible stream of training batches.

A balance plan says how many images of each class are drawn in an epoch (see `Balance`).

Guarantee: for the same images, labels, balance plan and augmentation, the augmented image at
position i of the stream depends only on the seed and on i. The seed and i decide which image is
drawn and how the image is changed at random. The number of threads has no influence.

Only this module imports Grain, a library that loads training data.
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
    """Return an endless Grain dataset of batches (inputs, labels, weights).

    Shapes in a batch: inputs [B, …], labels int64 [B], weights float32 [B]; B is `batch_size`. A
    weight is the factor by which the loss of an image is multiplied.
    examples: the inputs and labels to draw from. balance: the number of images to draw from each
    class in an epoch, and the weight of each class. batch_size: the number of images in a batch.
    seed: the seed of the order and of the random changes. augment: the function that changes an
    image at random; if it is None, the inputs stay unchanged.
    """
    import grain

    size = balance.epoch_size

    def load(position: int, generator: np.random.Generator) -> tuple[Any, ...]:
        index = order_of_epoch(position // size)[position % size]
        pixels, label = examples.inputs[index], examples.labels[index]
        changed = augment(pixels, generator) if augment else pixels
        return changed, label, balance.class_weights[label]

    @lru_cache(maxsize=2)  # Grain reads ahead, so it can need two epochs at a time.
    def order_of_epoch(epoch: int) -> NDArray[np.int64]:
        return epoch_order(examples.labels, balance.targets, np.random.default_rng([seed, epoch]))

    # Grain's methods `shuffle` and `repeat` are not needed. `epoch_order` shuffles the images, and
    # the 2^40 positions are more than any training uses.
    positions = grain.MapDataset.range(2**40).seed(seed)
    batched = positions.random_map(load).batch(batch_size)
    return batched.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4))


def steps_per_epoch(balance: Balance, batch_size: int) -> int:
    """Return the number of batches in an epoch, which is at least 1.

    This number is the number of images in an epoch divided by `batch_size`, rounded to the nearest
    integer. In the example 100 images / 32 = 3.1, so an epoch has 3 batches:

    >>> even = np.ones(2, np.float32)
    >>> steps_per_epoch(Balance(np.array([70, 30]), class_weights=even, log_priors=even), 32)
    3
    """
    return max(1, round(balance.epoch_size / batch_size))


def epoch_order(
    labels: NDArray[np.int64], targets: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Draw targets[c] images of every class c, and return their indices in random order.

    labels: the class of each image, int64 [N]. targets: the number of images to draw from each
    class, int64 [C]. generator: the source of the random numbers. Returns indices of images, int64
    [sum of targets].
    If a class has fewer images than its target (over-sampling), all of its images are drawn once
    before any image is drawn a second time. If a class has more images than its target
    (under-sampling), a random part of its images is drawn.

    In the example class 0 has the images 0 and 1. Class 1 has only image 2, which is drawn twice:

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
