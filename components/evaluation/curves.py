"""Labels and probabilities of the test split → points of ROC and precision–recall curves."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from components.evaluation.interval import Floats, Ints

# The maximum number of points of a curve. A chart with more points looks the same. The curves of
# every model are stored, so more points would only need more disk space.
LONGEST = 101


def roc_points(labels: Ints, probabilities: Floats, class_names: Sequence[str]) -> pd.DataFrame:
    """Return the points of a ROC curve for each class against the other classes.

    labels: int [N], indices into class_names. probabilities: float [N, C]; column c belongs to
    class_names[c]. class_names: the names of the C classes.

    Columns of the result: `class` (the name of the class), `fpr` (the false positive rate) and
    `tpr` (the true positive rate). The points of a class are sorted by ascending fpr. If no
    image or every image belongs to a class, the class has no curve and no rows in the result.
    """
    from sklearn.metrics import roc_curve

    points = []
    for index, name in _classes_with_curve(labels, class_names):
        fpr, tpr, _ = roc_curve(labels == index, probabilities[:, index])
        curve = pd.DataFrame({"class": name, "fpr": fpr, "tpr": tpr})
        points.append(curve.iloc[_shown_points(len(curve))])
    return _table(points, ["class", "fpr", "tpr"])


def precision_recall_points(
    labels: Ints, probabilities: Floats, class_names: Sequence[str]
) -> pd.DataFrame:
    """Return the points of a precision–recall curve for each class against the other classes.

    labels: int [N], indices into class_names. probabilities: float [N, C]; column c belongs to
    class_names[c]. class_names: the names of the C classes.

    Columns of the result: `class` (the name of the class), `recall` and `precision`. The points of
    a class are sorted by ascending recall. If no image or every image belongs to a class, the
    class has no curve and no rows in the result.
    """
    from sklearn.metrics import precision_recall_curve

    points = []
    for index, name in _classes_with_curve(labels, class_names):
        precision, recall, _ = precision_recall_curve(
            labels == index, probabilities[:, index], drop_intermediate=True
        )
        curve = pd.DataFrame({"class": name, "recall": recall, "precision": precision})[::-1]
        points.append(curve.iloc[_shown_points(len(curve))])
    return _table(points, ["class", "recall", "precision"])


def _classes_with_curve(labels: Ints, class_names: Sequence[str]) -> list[tuple[int, str]]:
    support = np.bincount(labels, minlength=len(class_names))
    return [(i, name) for i, name in enumerate(class_names) if 0 < support[i] < len(labels)]


def _shown_points(points: int) -> Ints:
    """Return the positions of the points that stay in a curve: int64, at most LONGEST positions.

    points: the number of points of a curve. The positions have about equal distances, and include
    the first and the last point.
    """
    return np.unique(np.linspace(0, points - 1, min(points, LONGEST)).round().astype(np.int64))


def _table(points: Sequence[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    if not points:
        return pd.DataFrame(columns=columns)
    return pd.concat(points, ignore_index=True)[columns].round(6)
