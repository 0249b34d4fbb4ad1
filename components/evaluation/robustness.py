"""Test images, a function that predicts → the accuracy on corrupted copies of the images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.evaluation.corruptions import SEVERITIES, Images, corrupt
from components.evaluation.decision import decided_classes
from components.evaluation.interval import Floats, Interval, Ints, counted_interval
from components.params.evaluate import Corruption, Corruptions, Evaluate
from components.progress import track
from components.words import count_text

AT_ONCE = 256  # corrupted images in memory

Predict = Callable[[Images], Floats]


@dataclass(frozen=True)
class Corrupted:
    """The accuracy on images with one corruption.

    kind, severity: see corruptions.py. accuracy: with Wilson's interval.
    """

    kind: str
    severity: int
    accuracy: Interval


@dataclass(frozen=True)
class Robustness:
    """The accuracy on corrupted images.

    images: the number of test images of which corrupted copies were predicted. clean: the accuracy
    on these images without a corruption. corrupted: by kind, then by severity.
    """

    images: int
    clean: Interval
    corrupted: tuple[Corrupted, ...]

    @property
    def mean_accuracy(self) -> float:
        """Return the mean accuracy over all kinds and severities, from 0 to 1."""
        return fmean(row.accuracy.value or 0.0 for row in self.corrupted)


def robustness(
    images: Images,
    rows: pd.DataFrame,
    probabilities: Floats,
    predict: Predict,
    evaluate: Evaluate,
) -> Robustness | None:
    """Return the accuracy on corrupted test images; None if `corruptions.kinds` is empty.

    images: uint8 [N, size, size, 3]. rows: the table of the test images, with the columns image_id
    (sha256, hex) and label_index. probabilities: float [N, C], those of the images without a
    corruption. predict: images uint8 [B, size, size, 3] → probabilities float [B, C]. evaluate:
    the section `evaluate` of params.yaml.

    At most `corruptions.images` images are used: those with the lowest image_id. It is a hash, so
    they are as good as drawn at random, and stay the same if other images arrive.
    """
    corruptions = evaluate.corruptions
    if not corruptions.kinds:
        return None
    chosen = chosen_images(rows["image_id"], corruptions.images)
    labels = rows["label_index"].to_numpy()[chosen]
    ids = rows["image_id"].to_numpy(object)[chosen]

    def accuracy(shares: Floats) -> Interval:
        hits = int((decided_classes(shares) == labels).sum())
        return counted_interval(hits, len(labels), evaluate.confidence)

    def copies(kind: Corruption, severity: int) -> Iterator[Images]:
        for start in range(0, len(chosen), AT_ONCE):
            block = range(start, min(start + AT_ONCE, len(chosen)))
            yield np.stack([corrupt(images[chosen[n]], kind, severity, ids[n]) for n in block])

    cells = [(kind, severity) for kind in corruptions.kinds for severity in SEVERITIES]
    corrupted = [
        Corrupted(kind, severity, accuracy(np.concatenate([*map(predict, copies(kind, severity))])))
        for kind, severity in track(cells, "corruptions predicted", len(cells))
    ]
    return Robustness(len(chosen), accuracy(probabilities[chosen]), tuple(corrupted))


def robustness_table(measured: Robustness | None) -> pd.DataFrame:
    """Return a row for each kind and severity; the first row, `none`, is without a corruption.

    Columns of the result: `kind`, `severity`, `images`, `accuracy`, `accuracy_low` and
    `accuracy_high`. If nothing was measured, the table has no row.
    """
    if measured is None:
        return pd.DataFrame(columns=["kind"])
    rows = [Corrupted("none", 0, measured.clean), *measured.corrupted]
    table = pd.DataFrame(
        {
            "kind": [row.kind for row in rows],
            "severity": [row.severity for row in rows],
            "images": measured.images,
            "accuracy": [row.accuracy.value for row in rows],
            "accuracy_low": [row.accuracy.low for row in rows],
            "accuracy_high": [row.accuracy.high for row in rows],
        }
    )
    return table.round(6)


def chosen_images(image_ids: pd.Series, most: int) -> NDArray[np.int64]:
    """Return the positions of the `most` lowest image_ids, in the order of the images: int64."""
    order = np.argsort(image_ids.to_numpy(object), kind="stable")
    chosen: Ints = np.sort(order[:most])
    return chosen.astype(np.int64)


def cost_in_words(corruptions: Corruptions, images: int) -> str:
    """Return how many predictions the corruptions need. images: the number of test images.

    >>> cost_in_words(Corruptions(kinds=("contrast",), images=500), 300)
    'robustness: 1 kind of corruption in 3 severities of 300 images are 900 predictions'
    """
    images = min(images, corruptions.images)
    total = len(corruptions.kinds) * len(SEVERITIES) * images
    kinds = count_text(len(corruptions.kinds), "kind", "kinds")
    return (
        f"robustness: {kinds} of corruption in {len(SEVERITIES)} severities of {images:,} images "
        f"are {total:,} predictions"
    )
