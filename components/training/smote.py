"""Features with unequal numbers of images per class → the same, and new ones of small classes.

The method is SMOTE (Chawla et al., 2002), made by the library imbalanced-learn. A new example lies
on the line between the features of an image and the features of one of the NEIGHBOURS images of its
class that are most similar to it. The place on the line is random.
"""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from components.training_set.examples import Examples

NEIGHBOURS = 5  # Chawla et al., 2002


def with_synthetic(
    features: Examples, targets: NDArray[np.int64], variants: int, seed: int
) -> Examples:
    """Return the examples and so many new ones that class c has targets[c] examples.

    features: float32 [variants * N, D] with labels: first variant 0 of all N images, then variant 1
    of all images, and so on, as in `Stream`. The result has the same order. All variants of a new
    example are between the same two images, at the same place of the line. targets: int64 [C].
    seed: the seed of the random numbers.

    A class gets no new examples if it has its target already, or if it has only one image, because
    there is no line then. A class with n images, fewer than 6, has only n - 1 neighbours to choose
    from. The result does not depend on the number of cores.
    """
    from imblearn.over_sampling import SMOTE
    from threadpoolctl import threadpool_limits

    images = len(features) // variants
    # A row has all variants of an image, so the method treats them together.
    rows = np.hstack(np.split(features.inputs, variants))
    labels = features.labels[:images]
    counts = np.bincount(labels, minlength=len(targets))
    by_neighbours: dict[int, dict[int, int]] = defaultdict(dict)
    for label in np.flatnonzero((counts > 1) & (counts < targets)).tolist():
        by_neighbours[min(NEIGHBOURS, counts[label] - 1)][label] = int(targets[label])
    new_rows, new_labels = [rows], [labels]
    with threadpool_limits(1):  # Several threads would add floats in an order that varies.
        for neighbours, wanted in sorted(by_neighbours.items()):
            method = SMOTE(sampling_strategy=wanted, k_neighbors=neighbours, random_state=seed)
            more, their_labels = method.fit_resample(rows, labels)
            new_rows.append(more[images:])
            new_labels.append(their_labels[images:])
    inputs = np.vstack(np.split(np.concatenate(new_rows), variants, axis=1))
    return Examples(inputs, np.tile(np.concatenate(new_labels), variants))
