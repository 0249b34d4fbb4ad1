"""features of a frozen backbone, labels → the labels that a classifier disagrees with, worst first.

Confident learning (Northcutt et al., 2021). A suspicion is a hint for a person and never removes an
image: a difficult picture looks just like a wrong label. On TrashNet with 5 % of its labels
changed, with MobileNetV2 0.35 at 224 pixels, 70 % of the 126 worst suspects were changed labels,
and 88 % of the changed labels were among the 306 suspects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.validation.folds import FOLDS, cross_probabilities, fold_numbers

LISTED = 100
# Inverse strength of L2 on standardised features. Between 0.001 and 0.01 the folds of TrashNet are
# predicted best, and most suspects are really wrong.
REGULARIZATION = 0.003
ITERATIONS = 300


@dataclass(frozen=True)
class LabelErrors:
    """The suspected labels among `images` that were examined.

    table: columns row (position in the arguments), label, suggested (the likeliest other label)
    and quality (the probability of the given label, 0–1), lowest quality first.
    skipped: labels of fewer than FOLDS sets, too few to learn from.
    """

    images: int
    table: pd.DataFrame
    skipped: tuple[str, ...]

    def tree(self, paths: Sequence[str]) -> dict[str, Any]:
        """Return plain values with the first LISTED suspects; paths: of all rows."""
        worst = self.table.head(LISTED)
        worst = worst.assign(path=[paths[row] for row in worst["row"]])
        return {
            "images": self.images,
            "skipped": list(self.skipped),
            "suspect_count": len(self.table),
            "suspects": worst[["path", "label", "suggested", "quality"]].to_dict("records"),
        }


def suspects(
    features: NDArray[np.float32], labels: Sequence[str], sets: Sequence[Any]
) -> LabelErrors:
    """Predict every label by logistic regression on the other folds, and suspect what differs.

    features: float32 [N, D]. labels: [N]. sets: [N], equal for copies, which share a fold.
    Which labels are suspected is cleanlab's estimate; the same on every number of cores.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, skipped = _common_rows(pd.Series(labels), pd.Series(sets))
    given, names = pd.factorize(pd.Series(labels).iloc[rows], sort=True)
    if len(names) < 2:
        table = pd.DataFrame(columns=["row", "label", "suggested", "quality"])
        return LabelErrors(len(rows), table, skipped)
    folds = fold_numbers(given, pd.Series(sets).iloc[rows].tolist())
    classifier = make_pipeline(
        StandardScaler(), LogisticRegression(C=REGULARIZATION, max_iter=ITERATIONS)
    )
    probabilities = cross_probabilities(classifier, features[rows], given, folds).round(4)
    positions = _suspect_positions(given, probabilities)
    others = probabilities[positions].copy()
    others[np.arange(len(positions)), given[positions]] = -1
    table = pd.DataFrame(
        {
            "row": rows[positions],
            "label": names[given[positions]],
            "suggested": names[others.argmax(axis=1)],
            "quality": probabilities[positions, given[positions]],
        }
    )
    return LabelErrors(len(rows), table, skipped)


def _common_rows(labels: pd.Series, sets: pd.Series) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Return the rows whose labels occur in every fold, and the labels that do not."""
    firsts = labels[~sets.duplicated()].value_counts().reindex(labels.unique(), fill_value=0)
    rare = set(firsts.index[firsts < FOLDS])
    return np.flatnonzero(~labels.isin(rare)), tuple(sorted(rare))


def _suspect_positions(
    labels: NDArray[np.intp], probabilities: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Return the positions of suspected labels, the least likely first."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    positions = np.flatnonzero(find_label_issues(labels, probabilities, n_jobs=1))
    scores = get_label_quality_scores(labels, probabilities, method="self_confidence")
    return positions[np.argsort(scores[positions], kind="stable")]
