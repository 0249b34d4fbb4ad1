"""Labels, predictions, resamples → the value of each score on each resample.

The definitions of the scores, and the rules for classes without images, are at the top of
metrics.py. A resample says how often it contains each image; see bootstrap.py. A slice of the test
split is a resample that contains its images once and no other image.
"""

import numpy as np

from components.evaluation.interval import Bools, Floats, Ints
from components.model.recall import mean_of_defined, ratio

MACRO = ("accuracy", "balanced_accuracy", "macro_f1", "macro_precision", "macro_recall")


def count_scores(labels: Ints, predicted: Ints, classes: int, times: Floats) -> dict[str, Floats]:
    """Return every score except ROC AUC, on each resample. See `roc_auc` for ROC AUC.

    labels: int [N], the class index of each image. predicted: int [N], the index of the predicted
    class of each image. classes: the number of classes. times: float [N, R]; `times[n, r]` says how
    often resample r contains image n.

    Returns a dict from the name of a score to an array. For the names in MACRO the array is float64
    [R]. For `precision`, `recall` and `f1` the array is float64 [classes, R]. A score is NaN if it
    is undefined.
    """
    hit = labels == predicted
    hits = sum_by_class(labels[hit], times[hit], classes)
    given, support = (sum_by_class(values, times, classes) for values in (predicted, labels))
    recall = ratio(hits, support)
    # For each class, `support` is the number of its images, `given` is the number of images that
    # were predicted as the class, and `hits` is the number of correct predictions of the class. If
    # the class is never predicted, `given` and `hits` are 0, so its precision is 0 / 1 = 0. If a
    # resample contains no image of a class, all scores of the class are NaN.
    precision = np.where(support > 0, hits / np.maximum(given, 1), np.nan)
    f1 = np.where(support > 0, ratio(2 * hits, given + support), np.nan)
    return {
        "accuracy": hits.sum(axis=0) / support.sum(axis=0),
        "balanced_accuracy": mean_of_defined(recall),
        "macro_f1": mean_of_defined(f1),
        "macro_precision": mean_of_defined(precision),
        "macro_recall": mean_of_defined(recall),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


def sum_by_class(values: Ints, times: Floats, classes: int) -> Floats:
    """Return the sums of the rows of `times` that belong to each class: float64 [classes, R].

    values: int [N], the class index of each row. times: float [N, R].

    >>> sum_by_class(np.array([1, 0, 1]), np.array([[1.0], [2.0], [3.0]]), classes=2)
    array([[2.],
           [4.]])
    """
    from scipy.sparse import csr_array

    # A dense matrix with a column for each class would need gigabytes for many classes and images.
    rows = (np.ones(len(values), np.float32), (values, np.arange(len(values))))
    return np.asarray((csr_array(rows, shape=(classes, len(values))) @ times).astype(np.float64))


def roc_auc(positive: Bools, scores: Floats, times: Floats) -> Floats:
    """Return the area under the ROC curve on each resample: float64 [R], NaN if undefined.

    Compare each image of the class with each image of the other classes. The image of the class
    wins if it has the higher score; equal scores are half a win. The area is the number of wins
    divided by the number of comparisons (Hanley and McNeil, 1982). The area is undefined if the
    resample contains no image of the class, or no image of another class.

    positive: bool [N], True if an image belongs to the class. scores: float [N], the probability of
    the class for each image. times: float [N, R]; `times[n, r]` says how often resample r contains
    image n.

    Example: an image of the class has the score 0.7. Two images of other classes have the scores
    0.1 and 0.7. The first comparison is a win and the second comparison is half a win, so the area
    is 1.5 / 2:

    >>> positive, scores = np.array([True, False, False]), np.array([0.7, 0.1, 0.7])
    >>> roc_auc(positive, scores, np.ones((3, 1)))
    array([0.75])
    """
    order = np.argsort(scores, kind="stable")
    ranked, ascending = scores[order], times[order]
    up_to = np.concatenate([np.zeros_like(times[:1]), np.cumsum(ascending, axis=0)])
    inside = positive[order]
    positives = ascending[inside].astype(np.float64)
    # A "positive" is an image of the class. For each positive, `below` is the number of images with
    # a lower score, and `not_above` is the number of images with a lower or an equal score. The
    # mean of these two numbers is the number of wins of the positive against all images.
    below = up_to[np.searchsorted(ranked, ranked[inside], "left")]
    not_above = up_to[np.searchsorted(ranked, ranked[inside], "right")]
    # "All images" includes the positives. So the wins of positives against positives must be
    # subtracted. The number of these wins is count**2 / 2, for the following reason. Each positive
    # was compared with each positive, also with itself. These are count**2 comparisons. On average
    # a comparison gives half a win: two positives `p` and `q` are compared twice, `p` with `q` and
    # `q` with `p`. If the scores differ, one comparison is a win and the other comparison is not.
    # If the scores are equal, each comparison is half a win. The comparison of a positive with
    # itself is also half a win.
    count = positives.sum(axis=0)
    wins = (positives * (below + not_above)).sum(axis=0) / 2 - count**2 / 2
    return ratio(wins, count * (times.sum(axis=0) - count))
