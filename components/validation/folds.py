"""Labels and sets of copies → folds, and cross-validated probabilities of the labels.

Each row is an image. The images in a set are copies of each other. A fold is one of the parts into
which the rows are divided, in most cases FOLDS of them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FOLDS = 5

Labels = NDArray[np.intp]


def fold_numbers(labels: Labels, sets: Sequence[Any], folds: int = FOLDS) -> Labels:
    """Return int [N]: the fold of each row, 0 to folds - 1.

    labels: int [N], the label of each row. sets: [N], the name or number of the set of each row.
    folds: the number of folds.

    All rows of a set are in one fold, so that no image is predicted by a classifier that was fitted
    on a copy of the image. If the rows of a set have several labels, the label of the first row is
    used for the set. The sets of each label are sorted, and then get the folds 0, 1, 2, … in turn.
    So if a label has at least as many sets as there are folds, the label is in every fold. The
    folds of scikit-learn do not guarantee this: see docs/decisions/shortcuts-by-naive-bayes.md.

    Example: five images have one label, and the first two images are copies.

    >>> fold_numbers(np.array([0, 0, 0, 0, 0]), ["a", "a", "b", "c", "d"]).tolist()
    [0, 0, 1, 2, 3]
    """
    rows = pd.DataFrame({"set": sets, "label": labels}).drop_duplicates("set")
    rows = rows.sort_values(["label", "set"])
    fold = pd.Series((rows.groupby("label").cumcount() % folds).to_numpy(), index=rows["set"])
    numbers: Labels = pd.Series(sets).map(fold).to_numpy(np.intp)
    return numbers


def random_folds(
    labels: Labels, sets: Sequence[int], folds: int, seed: int | Sequence[int]
) -> Labels:
    """Return int [N]: the fold of each row, as `fold_numbers`, but drawn at random.

    sets: [N], the number of the set of each row, 0 or more. folds: the number of folds. seed: of
    the random numbers.
    """
    # `fold_numbers` sorts the sets, so they get other numbers.
    order = np.random.default_rng(seed).permutation(max(sets) + 1)
    return fold_numbers(labels, order[np.asarray(sets)].tolist(), folds)


def cross_probabilities(
    classifier: Any,
    inputs: NDArray[Any],
    labels: Labels,
    folds: Labels,
    left_out: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Return float64 [N, number of labels]: the probability of every label for each row.

    The rows of a fold are predicted by a classifier that was fitted on all other folds. If all rows
    of a label are in one fold, the classifier for this fold does not know the label, so the label
    has probability 0 in this fold. The result does not depend on the number of CPU cores.

    classifier: a scikit-learn classifier with `fit` and `predict_proba`. It is fitted once for each
    fold. inputs: [N, D], the values from which the classifier predicts. labels: int [N], 0 to
    number of labels - 1. folds: int [N], the result of `fold_numbers`. left_out: bool [N], the rows
    on which no classifier is fitted; they are predicted like all other rows. None: no rows.
    """
    from threadpoolctl import threadpool_limits

    probabilities = np.zeros((len(labels), labels.max() + 1))
    is_used = np.ones(len(labels), bool) if left_out is None else ~left_out
    with threadpool_limits(1):  # Several threads would add floats in an order that varies.
        for fold in range(FOLDS):
            is_held_out = folds == fold
            if is_held_out.any():
                rows = is_used & ~is_held_out
                classifier.fit(inputs[rows], labels[rows])
                columns = np.ix_(is_held_out, classifier.classes_)
                probabilities[columns] = classifier.predict_proba(inputs[is_held_out])
    return probabilities
