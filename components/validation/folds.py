"""labels, sets → folds, and the probabilities of each fold by a classifier fitted on the others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FOLDS = 5

Labels = NDArray[np.intp]


def fold_numbers(labels: Labels, sets: Sequence[Any]) -> Labels:
    """Return the fold of each row, 0 to FOLDS - 1.

    labels: ints [N]. sets: names or numbers [N]; rows with equal ones are in one fold, so that no
    copy is predicted from its twin. The sets of a label are dealt to the folds in turn, in sorted
    order, so a label of FOLDS sets is in every fold; a set of several labels counts under the label
    of its first row. scikit-learn's folds do not promise this and are slow: see
    docs/decisions/shortcuts-by-naive-bayes.md.

    Five images of one label, of which the first two are copies:

    >>> fold_numbers(np.array([0, 0, 0, 0, 0]), ["a", "a", "b", "c", "d"]).tolist()
    [0, 0, 1, 2, 3]
    """
    rows = pd.DataFrame({"set": sets, "label": labels}).drop_duplicates("set")
    rows = rows.sort_values(["label", "set"])
    fold = pd.Series((rows.groupby("label").cumcount() % FOLDS).to_numpy(), index=rows["set"])
    numbers: Labels = pd.Series(sets).map(fold).to_numpy(np.intp)
    return numbers


def cross_probabilities(
    classifier: Any, inputs: NDArray[Any], labels: Labels, folds: Labels
) -> NDArray[np.float64]:
    """Return float [N, labels]: the probabilities of each fold, learned from the other folds.

    classifier: of scikit-learn, with `fit` and `predict_proba`. inputs: [N, D]. A label that is in
    one fold alone has probability 0 there. The same on every number of cores.
    """
    from threadpoolctl import threadpool_limits

    probabilities = np.zeros((len(labels), labels.max() + 1))
    with threadpool_limits(1):  # sums in another order would differ in their last digits
        for fold in range(FOLDS):
            is_held_out = folds == fold
            if is_held_out.any():
                classifier.fit(inputs[~is_held_out], labels[~is_held_out])
                columns = np.ix_(is_held_out, classifier.classes_)
                probabilities[columns] = classifier.predict_proba(inputs[is_held_out])
    return probabilities
