"""manifest → how well each label can be told from facts of the file instead of its content.

Where all images of a class came from another camera, site or converter, a network learns the camera
(Geirhos et al., 2020, Shortcut learning in deep neural networks). Two kinds of facts are told
apart: those of the file, which say nothing of what a picture shows, and those of its light and
colour, in which classes may differ honestly, as day and night do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.validation.folds import FOLDS, folds_of

FILE_FACTS = ("width", "height", "aspect", "bytes", "format", "mode")
PICTURE_FACTS = ("brightness", "contrast", "saturation")
MIN_IMAGES = 20  # of a class; of fewer no figure can be believed
MAX_IMAGES = 20_000  # looked at; the figures are then good to about 0.01
BINS = 32

COLUMNS = ("label", "images", "file_auc", "file_fact", "picture_auc", "picture_fact")

Labels = NDArray[np.intp]
Evidence = NDArray[np.float32]


@dataclass(frozen=True)
class Shortcuts:
    """How well each label of MIN_IMAGES and more is told, sorted by label.

    table: columns label, images, file_auc, file_fact, picture_auc, picture_fact. An AUC of 0.5 is
    guessing, 1 certainty; the fact is the one that tells most alone. images: so many looked at.
    skipped: the labels with fewer images.
    """

    table: pd.DataFrame
    skipped: tuple[str, ...]

    def tree(self) -> dict[str, Any]:
        """Return plain values."""
        return {"labels": self.table.to_dict("records"), "skipped": list(self.skipped)}


def find_shortcuts(manifest: pd.DataFrame) -> Shortcuts:
    """Predict every label from facts alone; measure the area under the ROC curve of each.

    Naive Bayes over binned facts, a label against the rest, cross-validated with equal pixels in
    one fold: it finds what a value, a threshold or a range of any fact tells. Of more than
    MAX_IMAGES images those are looked at whose image_id sorts first: a hash, so they are drawn at
    random and always the same.
    """
    images, skipped = _looked_at(manifest)
    labels, names = pd.factorize(images["label"], sort=True)
    if len(names) < 2:
        return Shortcuts(pd.DataFrame(columns=list(COLUMNS)), skipped)
    folds = folds_of(labels, images["pixels_id"].tolist())
    table = pd.DataFrame({"label": names, "images": np.bincount(labels)})
    for kind, facts in (("file", FILE_FACTS), ("picture", PICTURE_FACTS)):
        area, telling = _told(images, facts, labels, folds)
        table = table.assign(**{f"{kind}_auc": area, f"{kind}_fact": telling})
    return Shortcuts(table, skipped)


def _looked_at(manifest: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the images to look at, by image_id, and the labels that are too rare."""
    sound = manifest["pixels_id"].notna() & (manifest["label"].str.strip() != "")
    columns = ["path", "label", "image_id", "pixels_id", *FILE_FACTS, *PICTURE_FACTS]
    images = manifest.loc[sound, columns].sort_values(["image_id", "path"]).head(MAX_IMAGES)
    counts = images["label"].value_counts()
    common = images["label"].isin(counts.index[counts >= MIN_IMAGES])
    rare = set(manifest.loc[sound, "label"]) - set(images.loc[common, "label"])
    return images[common], tuple(sorted(rare))


def _told(
    images: pd.DataFrame, facts: Sequence[str], labels: Labels, folds: Labels
) -> tuple[NDArray[np.float64], list[str]]:
    """Return, by label, the area that facts reach together, and which reaches most alone."""
    together = np.zeros((len(labels), labels.max() + 1), np.float32)
    alone = []
    for fact in facts:
        evidence = _evidence(_binned(images[fact]), labels, folds)
        together += evidence
        alone.append(_areas(evidence, labels))
    best = np.argmax(alone, axis=0)
    return _areas(together, labels).round(4), [facts[number] for number in best]


def _binned(fact: pd.Series) -> Labels:
    """Number the values of a fact, 0 to BINS: words and few numbers one by one, others by rank."""
    values: Labels
    values, distinct = pd.factorize(fact, sort=True)
    if len(distinct) > BINS and pd.api.types.is_numeric_dtype(fact):
        numbers = fact.to_numpy(float)
        edges = np.unique(np.quantile(numbers, np.arange(1, BINS) / BINS))
        values = edges.searchsorted(numbers, side="right")
    return values.clip(max=BINS)


def _evidence(bins: Labels, labels: Labels, folds: Labels) -> Evidence:
    """Return float [N, labels]: ln p(bin | label) / p(bin | other label), from the other folds.

    Counts start at 1, so that a bin which a label was never seen in is unlikely, not impossible.
    """
    shape = FOLDS, BINS + 1, int(labels.max()) + 1
    cells = np.ravel_multi_index((folds, bins, labels), shape)
    counts = np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)
    inside = counts.sum(axis=0) - counts + 1.0
    outside = inside.sum(axis=2, keepdims=True) - inside
    shares = [part / part.sum(axis=1, keepdims=True) for part in (inside, outside)]
    ratios: Evidence = np.log(shares[0] / shares[1]).astype(np.float32)
    return ratios[folds, bins]


def _areas(evidence: Evidence, labels: Labels) -> NDArray[np.float64]:
    """Return float [labels]: the area under the ROC curve of every label against the rest."""
    from scipy.stats import rankdata

    areas = np.empty(evidence.shape[1])
    for label in range(len(areas)):
        positive = labels == label
        count = positive.sum()
        ranks = rankdata(evidence[:, label])[positive].sum() - count * (count + 1) / 2
        areas[label] = ranks / (count * (len(labels) - count))
    return areas
