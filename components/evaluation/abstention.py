"""Labels and probabilities → how accurate the answers are if unsure images get no answer.

The images are sorted by confidence, which is the probability of the predicted class. If a share of
them is answered, it is those with the highest confidence. The risk is the share of wrong answers.
The area under the curve of risk against the answered share is the AURC (Geifman and El-Yaniv, 2017;
Geifman et al., 2019). It is low if the wrong predictions are those with a low confidence.

Example: the two surest of four images are right, the others are wrong. If 1, 2, 3 or 4 images are
answered, the risk is 0, 0, 1/3 or 2/4. The AURC is the mean of these numbers, 5/24.

Images with the same confidence could be sorted in any order. So each counts as right to the share
of them that is right. The curve then does not depend on the order of the images.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.evaluation.curves import shown_points
from components.evaluation.decision import decided_classes
from components.evaluation.interval import Floats, Ints, share_interval

COLUMNS = ("answered", "images", "accuracy", "accuracy_low", "accuracy_high", "confidence")


@dataclass(frozen=True, eq=False)
class Abstention:
    """What abstaining gains.

    aurc: the area under the curve of risk against answered share, from 0 to 1; 0 is best. curve: a
    table with the columns COLUMNS, at most 101 rows, sorted by the answered share of the images
    (`answered`, above 0 to 1) and their number (`images`). `accuracy` is the accuracy of the
    answered images, with Wilson's interval. `confidence` is the lowest confidence of an answered
    image: who answers from this confidence on answers this share.
    """

    aurc: float
    curve: pd.DataFrame


def abstention(labels: Ints, probabilities: Floats, confidence: float) -> Abstention:
    """Return how accurate the answered images are, for each answered share.

    labels: int [N], N > 0, class indices. probabilities: float [N, C]. confidence: the confidence
    level of the intervals.

    >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    >>> abstention(np.array([0, 0, 1, 1]), probabilities, 0.95).aurc
    0.208333
    """
    sureness, groups = np.unique(probabilities.max(axis=1), return_inverse=True)
    right = decided_classes(probabilities) == labels
    share_right = np.bincount(groups, right) / np.bincount(groups)
    order = np.argsort(-groups, kind="stable")
    answered = np.arange(1, len(labels) + 1)
    accuracy = np.minimum(np.cumsum(share_right[groups[order]]) / answered, 1.0)
    rows = []
    for at in shown_points(len(labels)):
        images = int(answered[at])
        interval = share_interval(float(accuracy[at]), images, confidence)
        rows.append(
            (
                images / len(labels),
                images,
                accuracy[at],
                interval.low,
                interval.high,
                float(sureness[groups[order[at]]]),
            )
        )
    curve = pd.DataFrame(rows, columns=list(COLUMNS)).round(6)
    return Abstention(round(float((1 - accuracy).mean()), 6), curve)
