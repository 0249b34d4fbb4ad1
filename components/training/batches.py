"""Images, labels and a balance plan → an endless, reproducible stream of training batches.

A balance plan says how many images of each class are drawn in an epoch (see `Balance`).

Guarantee: batch i of a stream depends only on the images, the labels, the balance plan, the policy,
the seed and i. So any process can compute any batch, and the number of processes has no influence.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from components.training.augmentation import Policy
from components.training.mixing import Mixing
from components.training_set.examples import Balance, Examples

# inputs [B, …], labels int64 [B] or, if images can be mixed, float32 [B, C], weights float32 [B]
Batch = tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]]
Share = tuple[int, int]  # the number of an equal part of a batch, from 0, and the number of parts
ALL: Share = (0, 1)
# The seed is extended by one of these numbers, so that the order of the images, their changes, the
# choice among the variants of an image, its views and how it is mixed are drawn from different
# random numbers.
ORDER, CHANGES, CHOICE, VIEWS, MIXING = range(5)


class Batches(Protocol):
    """An endless stream of batches. All batches have the same shapes."""

    def batch(self, index: int) -> Batch:
        """Return batch `index` of the stream."""
        ...


@dataclass
class Stream:
    """An endless stream of batches. A stream can be sent to a process.

    examples: the inputs and labels to draw from. balance: the number of images to draw from each
    class in an epoch, and the weight of each class. batch_size: the number of images in a batch.
    seed: the seed of the order and of the random changes, 0 or more. policy: the random changes of
    the images; if it is None, the inputs stay unchanged. variants: how many variants of each image
    the examples have: first variant 0 of all images, then variant 1 of all images, and so on. Each
    time that an image is drawn, one of its variants is drawn. share: the part of each batch that
    `batch` returns. Several machines have the same batches, and each takes another part of them.
    mixing: how images are mixed with each other, or None. With it, all labels are float32 [B, C].
    """

    examples: Examples
    balance: Balance
    batch_size: int
    seed: int
    policy: Policy | None
    variants: int = 1
    share: Share = ALL
    mixing: Mixing | None = None
    _orders: dict[int, NDArray[np.int64]] = field(default_factory=dict, repr=False)
    _copies: dict[int, NDArray[np.bool_]] = field(default_factory=dict, repr=False)

    def batch(self, index: int) -> Batch:
        """Return the share of batch `index` of the stream: inputs, labels and weights.

        The weight of an image is the factor by which its loss is multiplied.
        """
        return self.batch_of(self.rows(index), index)

    def batch_of(self, rows: NDArray[np.int64], index: int) -> Batch:
        """Return the share of batch `index` as it would be if these rows were in it, int64 [B]."""
        number, parts = self.share
        own = np.split(np.arange(len(rows)), parts)[number]
        mixing = self.mixing
        if mixing is not None and index < mixing.batches:
            return self._mixed(mixing, rows, own, index)
        labels: NDArray[Any] = self.examples.labels[rows[own]]
        if mixing is not None:
            labels = np.eye(mixing.classes, dtype=np.float32)[labels]
        return self._inputs(rows, own, index), labels, self.weights(rows[own])

    def _mixed(
        self, mixing: Mixing, rows: NDArray[np.int64], own: NDArray[np.int64], index: int
    ) -> Batch:
        """Return the images at the positions `own`, each mixed with the next one of the batch."""
        following = (own + 1) % len(rows)
        needed = np.union1d(own, following)
        inputs = self._inputs(rows, needed, index)
        images, others = (inputs[np.searchsorted(needed, place)] for place in (own, following))
        generator = np.random.default_rng([self.seed, MIXING, index])
        mixed, shares = mixing.mix(images, others, own, len(rows), generator)
        classes, other_classes = (self.examples.labels[rows[place]] for place in (own, following))
        weights = self.balance.class_weights
        return mixed, *mixing.labels(classes, other_classes, shares, weights)

    def _inputs(
        self, rows: NDArray[np.int64], positions: NDArray[np.int64], index: int
    ) -> NDArray[Any]:
        """Return the inputs at these positions of a batch, changed as among the whole batch."""
        inputs = np.asarray(self.examples.inputs[rows[positions]])
        if self.policy is None:
            return inputs
        generator = np.random.default_rng([self.seed, CHANGES, index])
        drawn = (len(rows), self.policy.draws)
        changed = self.policy.change_by(inputs, generator.random(drawn)[positions])
        if self.balance.strategy == "augment_minority":
            copies = self.copies(index)[positions]
            again = generator.random(drawn)[positions][copies]
            changed[copies] = self.policy.change_by(changed[copies], again)
        return changed

    def rows(self, index: int) -> NDArray[np.int64]:
        """Return the rows of the examples in batch `index`, int64 [B]."""
        rows = self._parts(index, self._order)
        if self.variants == 1:
            return rows
        generator = np.random.default_rng([self.seed, CHOICE, index])
        return rows + self._images * generator.integers(self.variants, size=len(rows))

    def copies(self, index: int) -> NDArray[np.bool_]:
        """Return which images of batch `index` were drawn before in the same epoch, bool [B]."""
        return self._parts(index, self._copies_of)

    def weights(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the factors by which the losses of these rows are multiplied, in their shape."""
        return self.balance.class_weights[self.examples.labels[rows]]

    def __getstate__(self) -> dict[str, Any]:
        """Return what is sent to another process, which draws the orders itself."""
        return {**vars(self), "_orders": {}, "_copies": {}}

    def _parts(self, index: int, values: Callable[[int], NDArray[Any]]) -> NDArray[Any]:
        """Return the values of the positions of batch `index`. values: epoch → its values."""
        positions = np.arange(index * self.batch_size, (index + 1) * self.batch_size)
        epochs, places = np.divmod(positions, self.balance.epoch_size)
        return np.concatenate([values(e)[places[epochs == e]] for e in np.unique(epochs)])

    @property
    def _images(self) -> int:
        return len(self.examples) // self.variants

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            while len(self._orders) > 1:  # A batch can need two epochs.
                del self._orders[min(self._orders)]
            generator = np.random.default_rng([self.seed, ORDER, epoch])
            labels = self.examples.labels[: self._images]
            self._orders[epoch] = epoch_order(labels, self.balance.targets, generator)
        return self._orders[epoch]

    def _copies_of(self, epoch: int) -> NDArray[np.bool_]:
        if epoch not in self._copies:
            self._copies = {epoch: _drawn_before(self._order(epoch))}
        return self._copies[epoch]


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


def _drawn_before(order: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each position whether an earlier position has the same image.

    >>> _drawn_before(np.array([7, 8, 7])).tolist()
    [False, False, True]
    """
    before = np.ones(len(order), bool)
    before[np.unique(order, return_index=True)[1]] = False
    return before
