"""Features and given labels of images → suspected label errors, the most likely error first.

The method is confident learning (Northcutt et al., 2021). The features of an image are the numbers
that a pretrained network computes from its pixels. A second model, a logistic regression, predicts
the label of each image from the features. If the logistic regression finds another label more
probable than the given label, the given label may be suspected. A suspected label is called a
suspect. Fovea only lists the suspects, so that a person can check them. Fovea does not remove their
images, because the correct label of a difficult picture may also be suspected.

The method was measured on the data set TrashNet after 5 % of its labels had been replaced by wrong
labels. The features came from MobileNetV2 with width 0.35 at 224 pixels. 306 labels were suspected.
88 % of the wrong labels were among these suspects. Of the first 126 suspects, 70 % were wrong
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
# The parameter C of the logistic regression, the inverse strength of its L2 penalty. On TrashNet,
# values from 0.001 to 0.01 are the best. With these values, the logistic regression predicts labels
# best, and the share of suspects that are really wrong labels is largest.
REGULARIZATION = 0.003
ITERATIONS = 300  # maximum number of iterations of the solver


@dataclass(frozen=True)
class LabelErrors:
    """The suspected label errors.

    images: the number of images that were examined. skipped: the labels with fewer than FOLDS sets
    of copies (see `suspects`). The images of these labels were not examined, because they are too
    few for a model to learn the label. table: a table with one row for each suspect, sorted by
    quality, the lowest quality first. The columns of the table are:

    row: int, the position of the image in the arguments of `suspects`.
    label: str, the given label.
    suggested: str, the most probable other label.
    quality: float, the predicted probability of the given label, 0 to 1.
    """

    images: int
    table: pd.DataFrame
    skipped: tuple[str, ...]

    def tree(self, paths: Sequence[str]) -> dict[str, Any]:
        """Return plain values for JSON. At most the first LISTED suspects are included.

        paths: str [N], the path of each image, in the order of the arguments of `suspects`.
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
    """Find the labels that are probably wrong.

    The images are divided into FOLDS parts, which are called folds. For the images of each fold, a
    logistic regression that was fitted on all other folds predicts the probability of every label.
    From these probabilities, the library cleanlab decides which labels are suspected. The result
    does not depend on the number of cores. If fewer than two labels have at least FOLDS sets of
    copies, no label is suspected.

    features: float32 [N, D], the features of each image. labels: str [N], the label of each image.
    sets: [N], the name or number of the set of copies of each image. A set of copies is an image
    with all its copies, or a single image without copies. All images of a set are in one fold, so
    that no image is predicted by a model that was fitted on a copy of the image.
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
    """Return (positions of the rows whose label has at least FOLDS sets, all other labels).

    A label with at least FOLDS sets of copies is in every fold. If the rows of a set have several
    labels, the set counts only for the label of its first row.

    labels: str [N], the label of each row. sets: [N], the set of copies of each row.
    """
    firsts = labels[~sets.duplicated()].value_counts().reindex(labels.unique(), fill_value=0)
    rare = set(firsts.index[firsts < FOLDS])
    return np.flatnonzero(~labels.isin(rare)), tuple(sorted(rare))


def _suspect_positions(
    labels: NDArray[np.intp], probabilities: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Return the positions of suspected labels, the label with the lowest probability first.

    labels: int [N], the given labels. probabilities: float64 [N, number of labels], the predicted
    probability of every label for each image.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    positions = np.flatnonzero(find_label_issues(labels, probabilities, n_jobs=1))
    scores = get_label_quality_scores(labels, probabilities, method="self_confidence")
    return positions[np.argsort(scores[positions], kind="stable")]
