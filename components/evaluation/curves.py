"""Labels and probabilities of the test split → points of ROC and precision–recall curves."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from components.calibration.scores import Calibration
from components.evaluation.interval import Floats, Ints

# The maximum number of points of a curve. A chart with more points looks the same. The curves of
# every model are stored, so more points would only need more disk space.
LONGEST = 101
# The maximum number of classes that have a curve. A chart of more curves cannot be read, and each
# curve is a sorted copy of all test images.
MOST_CURVES = 100


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
        points.append(curve.iloc[shown_points(len(curve))])
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
        points.append(curve.iloc[shown_points(len(curve))])
    return _table(points, ["class", "recall", "precision"])


def reliability_points(calibration: Calibration) -> pd.DataFrame:
    """Return the bins of a reliability diagram, sorted by ascending confidence.

    Columns of the result: `confidence` (the mean confidence of the images in the bin), `accuracy`
    (the share of them that are predicted correctly) and `images` (their number).
    """
    rows = [(bin_.confidence, bin_.accuracy, bin_.images) for bin_ in calibration.bins]
    return pd.DataFrame(rows, columns=["confidence", "accuracy", "images"]).round(6)


def _classes_with_curve(labels: Ints, class_names: Sequence[str]) -> list[tuple[int, str]]:
    """Return index and name of the MOST_CURVES classes with the most test images, in order."""
    support = np.bincount(labels, minlength=len(class_names))
    largest = np.sort(np.argsort(-support, kind="stable")[:MOST_CURVES])
    return [(i, class_names[i]) for i in largest.tolist() if 0 < support[i] < len(labels)]


def shown_points(points: int) -> Ints:
    """Return the positions of the points that stay in a curve: int64, at most LONGEST positions.

    points: the number of points of a curve. The positions have about equal distances, and include
    the first and the last point.
    """
    return np.unique(np.linspace(0, points - 1, min(points, LONGEST)).round().astype(np.int64))


def _table(points: Sequence[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    if not points:
        return pd.DataFrame(columns=columns)
    return pd.concat(points, ignore_index=True)[columns].round(6)
