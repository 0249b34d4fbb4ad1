"""Train, val and sets of copies → folds, on which the best trials of a search are trained again.

The train split is cut into parts, at random. A part becomes the val split of a fold; all other
images, also those of the old val split, are its train split. Guarantees:

- Copies of an image, and the images of a group, are on one side.
- No image of the old val split is in the val split of a fold. Trials were chosen on these images,
  and would look better on them than they are.
- Every class of the old val split is in the train split of a fold. A class is in the val split of
  every fold, too, if it has as many sets of copies in the old train split as there are parts.
- The splits have about the same sizes as before, since there are as many parts as the old val split
  fits into the old train split. If more folds are asked for, the old train split is cut again.

Example: 70 images in train and 15 in val give 5 parts of 14 images, and folds of 71 and 14 images.

Costs: no pixels are copied, and no image is hashed again. A batch of 64 images of 224 × 224 pixels
takes 1 ms more. The features of the images as they are come from the store; views depend on the
seed, so they are computed again for each fold.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from components.errors import UserError
from components.training_set.balance import plan
from components.training_set.examples import Balance, Data, choose_rows
from components.validation.folds import random_folds


@dataclass(frozen=True)
class Fold:
    """The data of one training that confirms a trial, and its seed, the value `train.seed`."""

    data: Data
    seed: int


def confirmation_folds(
    data: Data, sets: Sequence[int], folds: int, seed: int, beta: float
) -> list[Fold]:
    """Return the folds. Their balance plans have the strategy of `data`, for their own images.

    data: what the search reads, with the plan of the stage `balance`. sets: [train + val], the
    number of the set of copies of each image, first those of train, see `splits.sets.row_sets`.
    folds: the number of folds. seed: the value `train.seed`; the seeds of the folds follow on it.
    beta: the value `balance.effective_number_beta`.

    Raises UserError if no class has two sets of copies in train.
    """
    images = len(data.train)
    numbers = np.asarray(sets)
    # A set with images in both splits stays in train, so `free` has only positions in train.
    free = np.flatnonzero(~np.isin(numbers[:images], numbers[images:]))
    labels, numbers = data.train.labels[free], numbers[free]
    parts = _part_count(images / len(data.val), labels, numbers)
    made = []
    for number in range(folds):
        cut, part = divmod(number, parts)
        drawn = random_folds(labels, numbers.tolist(), parts, [seed, cut])
        made.append(Fold(_fold_data(data, free[drawn == part], beta), (seed + 1 + number) % 2**32))
    return made


def val_to_train(folds: Sequence[Fold]) -> float:
    """Return the number of val images divided by the number of train images, the mean of folds."""
    return float(np.mean([len(fold.data.val) / len(fold.data.train) for fold in folds]))


def _part_count(wanted: float, labels: NDArray[np.int64], sets: NDArray[np.integer]) -> int:
    """Return how many parts have about the wanted number, and at least one set each."""
    most = max((len(np.unique(sets[labels == label])) for label in np.unique(labels)), default=0)
    if most < 2:
        raise UserError(
            "search.confirm.trials: a class with at least two training images that are no copies "
            "of each other, and not of one group, is necessary; add images, or write 0. "
            f"Received: {most} of each class"
        )
    return min(max(2, round(wanted)), most)


def _fold_data(data: Data, val: NDArray[np.intp], beta: float) -> Data:
    """Return data whose val split has the images at the positions `val` of the train split."""
    old = [data.train, data.val]
    rest = np.setdiff1d(np.arange(sum(map(len, old))), val)
    train = choose_rows(old, rest)
    names = data.class_names
    labels = [names[label] for label in train.labels]
    balance = replace(
        Balance.from_plan(plan(data.balance.strategy, labels, names, beta)),
        costs=data.balance.costs,
    )
    content = hashlib.sha256(data.content.encode() + val.astype(np.int64).tobytes()).hexdigest()
    return replace(data, train=train, val=choose_rows(old, val), balance=balance, content=content)
