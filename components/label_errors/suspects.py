"""features of a frozen backbone, labels → the labels that a classifier disagrees with, worst first.

Confident learning (Northcutt et al., 2021). A suspicion is a hint for a person, and nothing is ever
taken out by it: what the classifier finds hard looks just like what was labelled wrongly. On
TrashNet with 5 % of its labels changed, with MobileNetV2 0.35 at 224 pixels, 70 % of the 126 worst
were changed ones, and 88 % of the changed were among the 306 suspected.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.validation.folds import FOLDS, folds_of

LISTED = 100
# Inverse strength of L2 on standardised features. Between 0.001 and 0.01 the folds of TrashNet are
# predicted best, and suspicions are best founded.
REGULARIZATION = 0.003
ITERATIONS = 300


@dataclass(frozen=True)
class LabelErrors:
    """What is suspected among `images` that were looked at.

    table: columns row (position in what was given), label, suggested (the likeliest other label)
    and quality (the probability of the given label, 0–1), lowest quality first.
    skipped: labels of fewer than FOLDS sets, of which nothing can be learned.
    """

    images: int
    table: pd.DataFrame
    skipped: tuple[str, ...]

    def tree(self, paths: Sequence[str]) -> dict[str, Any]:
        """Return plain values with the first LISTED; paths: of all rows that were given."""
        listed = self.table.head(LISTED)
        named = listed.assign(path=[paths[row] for row in listed["row"]])
        return {
            "images": self.images,
            "skipped": list(self.skipped),
            "suspect_count": len(self.table),
            "suspects": named[["path", "label", "suggested", "quality"]].to_dict("records"),
        }


def suspects(
    features: NDArray[np.float32], labels: Sequence[str], sets: Sequence[Any]
) -> LabelErrors:
    """Predict every label by logistic regression on the other folds, and suspect what differs.

    features: float32 [N, D]. labels: [N]. sets: [N], equal for copies, which share a fold.
    Which are suspected is cleanlab's estimate; the same on every number of cores.
    """
    rows, skipped = _enough(pd.Series(labels), pd.Series(sets))
    given, names = pd.factorize(pd.Series(labels).iloc[rows], sort=True)
    if len(names) < 2:
        table = pd.DataFrame(columns=["row", "label", "suggested", "quality"])
        return LabelErrors(len(rows), table, skipped)
    folds = folds_of(given, pd.Series(sets).iloc[rows].tolist())
    probabilities = _predicted(features[rows], given, folds)
    found = _ranked(given, probabilities)
    others = probabilities[found].copy()
    others[np.arange(len(found)), given[found]] = -1
    table = pd.DataFrame(
        {
            "row": rows[found],
            "label": names[given[found]],
            "suggested": names[others.argmax(axis=1)],
            "quality": probabilities[found, given[found]],
        }
    )
    return LabelErrors(len(rows), table, skipped)


def _enough(labels: pd.Series, sets: pd.Series) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Return the rows whose labels occur in every fold, and the labels that do not."""
    firsts = labels[~sets.duplicated()].value_counts().reindex(labels.unique(), fill_value=0)
    rare = set(firsts.index[firsts < FOLDS])
    return np.flatnonzero(~labels.isin(rare)), tuple(sorted(rare))


def _predicted(
    features: NDArray[np.float32], labels: NDArray[np.intp], folds: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return probabilities [N, labels] of each fold, learned from the others."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    probabilities = np.empty((len(labels), labels.max() + 1))
    with threadpool_limits(1):  # sums in another order would differ in their last digits
        for fold in range(FOLDS):
            held = folds == fold
            classifier = make_pipeline(
                StandardScaler(), LogisticRegression(C=REGULARIZATION, max_iter=ITERATIONS)
            )
            classifier.fit(features[~held], labels[~held])
            probabilities[held] = classifier.predict_proba(features[held])
    return probabilities.round(4)


def _ranked(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the positions of suspected labels, the least likely first."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    found = np.flatnonzero(find_label_issues(labels, probabilities, n_jobs=1))
    scores = get_label_quality_scores(labels, probabilities, method="self_confidence")
    return found[np.argsort(scores[found], kind="stable")]
