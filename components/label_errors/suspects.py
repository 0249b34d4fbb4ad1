"""features of images, their labels → suspected label errors, the most likely error first.

The method is confident learning (Northcutt et al., 2021). A frozen backbone computes the features.
A classifier predicts every label from them, and a label is suspected if the classifier disagrees.
A suspicion is a hint for a person. It never removes an image, because the label of a difficult
picture looks wrong as well.

Measured on TrashNet, with 5 % of its labels changed and MobileNetV2 0.35 at 224 pixels: there were
306 suspects. They included 88 % of the changed labels. Of the first 126 suspects, 70 % were changed
labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.validation.folds import FOLDS, cross_probabilities, fold_numbers

LISTED = 100  # maximum number of suspects in report.json
# Inverse strength of the L2 penalty on standardised features. Values from 0.001 to 0.01 predict the
# folds of TrashNet best, and with them most suspects are really wrong labels.
REGULARIZATION = 0.003
ITERATIONS = 300


@dataclass(frozen=True)
class LabelErrors:
    """The suspected label errors.

    images: how many images were examined. table: one row for each suspect, sorted by quality, the
    lowest first. Its columns are row (position of the image in the arguments of `suspects`), label
    (the given label), suggested (the most probable other label) and quality (the probability of the
    given label, 0–1). skipped: labels with fewer than FOLDS sets, which are too few to learn from.
    """

    images: int
    table: pd.DataFrame
    skipped: tuple[str, ...]

    def tree(self, paths: Sequence[str]) -> dict[str, Any]:
        """Return plain values for JSON, with the first LISTED suspects.

        paths: [N], the path of each image, in the order of the arguments of `suspects`.
        """
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
    """Find the labels that a logistic regression, fitted on the other folds, disagrees with.

    features: float32 [N, D]. labels: str [N]. sets: name or number [N] of the set of copies of each
    image; all images of a set are in one fold. cleanlab decides which labels are suspected. The
    result does not depend on the number of cores.
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
    """Return (rows whose label has FOLDS sets or more, the other labels).

    A label with FOLDS sets is in every fold.
    """
    firsts = labels[~sets.duplicated()].value_counts().reindex(labels.unique(), fill_value=0)
    rare = set(firsts.index[firsts < FOLDS])
    return np.flatnonzero(~labels.isin(rare)), tuple(sorted(rare))


def _suspect_positions(
    labels: NDArray[np.intp], probabilities: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Return the positions of suspected labels, the one with the lowest probability first.

    labels: int [N]. probabilities: float64 [N, number of labels].
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    positions = np.flatnonzero(find_label_issues(labels, probabilities, n_jobs=1))
    scores = get_label_quality_scores(labels, probabilities, method="self_confidence")
    return positions[np.argsort(scores[positions], kind="stable")]
