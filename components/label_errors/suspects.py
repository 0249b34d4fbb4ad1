"""Features and given labels of images → all images, ranked by how well their label fits.

The features of an image are the numbers that a pretrained network computes from its pixels. Two
classifiers predict the label of each image from the features: a logistic regression, and a vote of
the most similar images. The mean of their two probabilities is used. The lower the probability of
the given label, the worse the label fits. The images whose labels fit worst come first in the
ranking. The method is confident learning (Northcutt et al., 2021): the library cleanlab also
decides which labels are probably wrong. Such a label is called a suspect. Fovea only lists labels,
so that a person can check them. Fovea does not remove their images, because the correct label of a
difficult picture may also be suspected.

The method was measured with MobileNetV2 of width 0.35 at 224 pixels, after some labels had been
replaced by wrong labels, with three seeds. n is the number of wrong labels.

    data set    replaced   wrong labels among the first n   with the logistic regression alone
    TrashNet    5 %        75 %                             68 %
    digits      3 %        88 %                             88 %
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.validation.folds import FOLDS, cross_probabilities, fold_numbers

LISTED = 100  # maximum number of images and of suspects in report.json
# The parameter C of the logistic regression, the inverse strength of its L2 penalty. On TrashNet,
# values from 0.001 to 0.01 are the best. With these values, the logistic regression predicts labels
# best, and the share of suspects that are really wrong labels is largest.
REGULARIZATION = 0.003
ITERATIONS = 300  # maximum number of iterations of the solver
# The number of similar images that vote. With 10 or 40, the figures above differ by 1 %.
NEIGHBOURS = 20
# The vote of an image whose cosine distance is larger by this number counts 1 / e as much.
DISTANCE = 0.1
CHECKED = 0.1  # share of the ranking for which `LabelErrors.found` says how many errors it has

# The columns of the table in which each image has a row.
SCORES = {
    "path": "str",
    "label": "str",
    "suggested": "str",
    "quality": "float64",
    "rank": "Int64",
    "suspected": "bool",
}
NO_SCORES = pd.DataFrame(columns=list(SCORES)).astype(SCORES)


@dataclass(frozen=True)
class LabelErrors:
    """All examined images, ranked by how well their label fits.

    images: the number of images that were examined.

    ranking: a table with one row for each examined image. The image whose label fits worst is the
    first. If all examined images have the same label, the table is empty. Its columns are:

    row: int, the position of the image in the arguments of `suspects`.
    label: str, the given label.
    suggested: str, the most probable other label.
    quality: float, the predicted probability of the given label, 0 to 1.
    suspected: bool, True if cleanlab decides that the label is probably wrong.

    skipped: the labels with fewer than FOLDS sets of copies (see `suspects`). The images of these
    labels were not examined, because they are too few for a model to learn the label.

    The next two numbers say how sure the ranking is. They are None if the ranking is empty.

    agreement: the share of the images whose given label is the most probable one, 0 to 1.
    found: the answer to this question: if the label of one image were replaced by another label,
    would the image be in the first part of the ranking? The size of this part is the share CHECKED.
    `found` is the share of "yes" among all images and all other labels, 0 to 1.
    """

    images: int
    ranking: pd.DataFrame
    skipped: tuple[str, ...]
    agreement: float | None
    found: float | None

    @property
    def table(self) -> pd.DataFrame:
        """Return the rows of the suspects, without the column `suspected`."""
        return self.ranking[self.ranking["suspected"]].drop(columns="suspected")

    def tree(self, paths: Sequence[str]) -> dict[str, Any]:
        """Return plain values for JSON, with at most LISTED images and LISTED suspects.

        paths: str [N], the path of each image, in the order of the arguments of `suspects`.
        """
        return {
            "images": self.images,
            "skipped": list(self.skipped),
            "agreement": self.agreement,
            "checked": math.ceil(CHECKED * len(self.ranking)),
            "found": self.found,
            "suspect_count": len(self.table),
            "suspects": _records(self.table, paths),
            "ranking": _records(self.ranking, paths),
        }

    def scores(self, paths: Sequence[str], labels: Sequence[str]) -> pd.DataFrame:
        """Return a table with a row for every image and the columns of SCORES.

        The first row has the rank 1: its label fits worst. The images that are not ranked are at
        the end. They have no suggested label, no quality and no rank.

        paths, labels: str [N], the path and the given label of each image, in the order of the
        arguments of `suspects`.
        """
        ranked = self.ranking.assign(rank=np.arange(1, len(self.ranking) + 1)).set_index("row")
        rest = np.setdiff1d(np.arange(len(paths)), ranked.index)
        table = ranked.reindex([*ranked.index, *rest])
        rows = table.index.to_numpy(np.intp)
        table["path"], table["label"] = np.array(paths)[rows], np.array(labels)[rows]
        table["suspected"] = table["suspected"].eq(True)
        return table[list(SCORES)].astype(SCORES).reset_index(drop=True)


def _records(table: pd.DataFrame, paths: Sequence[str]) -> list[dict[str, Any]]:
    first = table.head(LISTED)
    first = first.assign(path=[paths[row] for row in first["row"]])
    columns = ["path", *(name for name in table if name != "row")]
    return [dict(zip(columns, row, strict=True)) for row in first[columns].to_numpy().tolist()]


def suspects(
    features: NDArray[np.float32],
    labels: Sequence[str],
    sets: Sequence[Any],
    *,
    fit_again: bool = False,
) -> LabelErrors:
    """Rank the images by how well their label fits, and find the labels that are probably wrong.

    The images are divided into FOLDS parts, which are called folds. For the images of each fold,
    classifiers that were fitted on all other folds predict the probability of every label. From
    these probabilities, the library cleanlab decides which labels are suspected. The result does
    not depend on the number of cores. If fewer than two labels have at least FOLDS sets of copies,
    no image is ranked.

    features: float32 [N, D], the features of each image. labels: str [N], the label of each image.
    sets: [N], the name or number of the set of copies of each image. A set of copies is an image
    with all its copies, or a single image without copies. All images of a set are in one fold, so
    that no image is predicted by a model that was fitted on a copy of the image. fit_again: whether
    the classifiers are fitted a second time, without the images that were suspected the first time,
    so that wrong labels mislead them less. The mean of the two fits is used. This helps if the
    network of the features was trained on the images. Otherwise it changes little.
    """
    rows, skipped = _common_rows(pd.Series(labels), pd.Series(sets))
    given, names = pd.factorize(pd.Series(labels).iloc[rows], sort=True)
    if len(names) < 2:
        columns = ["row", "label", "suggested", "quality", "suspected"]
        none = pd.DataFrame(columns=columns).astype({"row": int, "suspected": bool})
        return LabelErrors(len(rows), none, skipped, None, None)
    folds = fold_numbers(given, pd.Series(sets).iloc[rows].tolist())
    fitted_on = len(given) - int(np.bincount(folds).max())  # images, at least
    neighbours = min(NEIGHBOURS, fitted_on)
    known = features[rows]
    probabilities = cross_probabilities(_classifier(neighbours), known, given, folds).round(4)
    if fit_again:
        doubtful = _suspected(given, probabilities)
        if _can_fit(given[~doubtful], folds[~doubtful], neighbours):
            again = cross_probabilities(_classifier(neighbours), known, given, folds, doubtful)
            probabilities = ((probabilities + again) / 2).round(4)
    quality = probabilities[np.arange(len(rows)), given]
    others = probabilities.copy()
    others[np.arange(len(rows)), given] = -1
    table = pd.DataFrame(
        {
            "row": rows,
            "label": names[given],
            "suggested": names[others.argmax(axis=1)],
            "quality": quality,
            "suspected": _suspected(given, probabilities),
        }
    )
    ranking = table.sort_values("quality", kind="stable", ignore_index=True)
    agreement = round(float((quality > others.max(axis=1)).mean()), 4)
    return LabelErrors(len(rows), ranking, skipped, agreement, _found(others, ranking["quality"]))


def _can_fit(labels: NDArray[np.intp], folds: NDArray[np.intp], neighbours: int) -> bool:
    """Return whether two labels and enough images are left outside of each fold.

    labels, folds: int [N], the label and the fold of each image. neighbours: the number of similar
    images that vote.
    """
    outside = [labels[folds != fold] for fold in range(FOLDS)]
    return all(len(set(left)) > 1 and len(left) >= neighbours for left in outside)


def _classifier(neighbours: int) -> Any:
    """Return a scikit-learn classifier whose probability is the mean of two classifiers.

    neighbours: the number of similar images that vote.
    """
    from sklearn.ensemble import VotingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    logistic = LogisticRegression(C=REGULARIZATION, max_iter=ITERATIONS)
    similar = KNeighborsClassifier(
        neighbours, metric="cosine", algorithm="brute", weights=_vote_weights
    )
    parts = [("logistic", make_pipeline(StandardScaler(), logistic)), ("similar", similar)]
    return VotingClassifier(parts, voting="soft")


def _vote_weights(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of votes: distances [N, neighbours] → weights of the same shape."""
    weights: NDArray[np.float64] = np.exp(-distances / DISTANCE)
    return weights


def _found(others: NDArray[np.float64], quality: pd.Series) -> float:
    """Return the number `found` of LabelErrors.

    An image is predicted by classifiers that were not fitted on it. So if its label were another
    one, the probabilities of the image would be the same, and its quality would be the probability
    of the other label.

    others: float64 [N, number of labels], the probability of every label, and -1 for the given
    label. quality: float [N], sorted.
    """
    limit = quality.iloc[math.ceil(CHECKED * len(quality)) - 1]
    return round(float((others[others >= 0] <= limit).mean()), 4)


def _common_rows(labels: pd.Series, sets: pd.Series) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Return (positions of the rows whose label has at least FOLDS sets, all other labels).

    A label with at least FOLDS sets of copies is in every fold. If the rows of a set have several
    labels, the set counts only for the label of its first row.

    labels: str [N], the label of each row. sets: [N], the set of copies of each row.
    """
    firsts = labels[~sets.duplicated()].value_counts().reindex(labels.unique(), fill_value=0)
    rare = set(firsts.index[firsts < FOLDS])
    return np.flatnonzero(~labels.isin(rare)), tuple(sorted(rare))


def _suspected(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return bool [N]: whether cleanlab decides that the label of an image is probably wrong.

    labels: int [N], the given labels. probabilities: float64 [N, number of labels], the predicted
    probability of every label for each image.
    """
    from cleanlab.filter import find_label_issues

    issues: NDArray[np.bool_] = find_label_issues(labels, probabilities, n_jobs=1)
    return issues
