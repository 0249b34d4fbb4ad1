"""manifest → how well each label can be predicted from facts of the file instead of its content.

Where all images of a class came from another camera, site or converter, a network learns the camera
(Geirhos et al., 2020, Shortcut learning in deep neural networks). There are two kinds of facts:
those of the file, which say nothing of what a picture shows, and those of its light and colour, in
which classes may really differ, as day and night do.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.validation.folds import Labels, cross_probabilities, fold_numbers

FACTS = {
    "file": ("width", "height", "aspect", "bytes", "format", "mode"),
    "picture": ("brightness", "contrast", "saturation"),
}
MIN_IMAGES = 20  # of a class; with fewer, an AUC says little
MAX_IMAGES = 20_000  # enough for figures that are right to about 0.01
BINS = 32

COLUMNS = ("label", "images", "file_auc", "file_fact", "picture_auc", "picture_fact")


@dataclass(frozen=True)
class Shortcuts:
    """How well each label of MIN_IMAGES and more is predicted, sorted by label.

    table: columns label, images (how many were used), file_auc, file_fact, picture_auc,
    picture_fact. An AUC of 0.5 is guessing, 1 certain; the fact is the best one alone.
    skipped: the labels with fewer images.
    """

    table: pd.DataFrame
    skipped: tuple[str, ...]

    def tree(self) -> dict[str, Any]:
        """Return plain values."""
        return {"labels": self.table.to_dict("records"), "skipped": list(self.skipped)}


def find_shortcuts(manifest: pd.DataFrame) -> Shortcuts:
    """Predict every label from facts alone; measure the area under the ROC curve of each.

    Naive Bayes over facts in bins, cross-validated with equal pixels in one fold, so that a copy is
    not predicted from its twin. It finds a value, a threshold or a range of any fact that gives a
    label away.
    """
    images, skipped = _common_images(manifest)
    labels, names = pd.factorize(images["label"], sort=True)
    if len(names) < 2:
        return Shortcuts(pd.DataFrame(columns=list(COLUMNS)), skipped)
    folds = fold_numbers(labels, images["pixels_id"].tolist())
    table = pd.DataFrame({"label": names, "images": np.bincount(labels)})
    for kind, facts in FACTS.items():
        bins = np.column_stack([_bins(images[fact]) for fact in facts])
        best = _best_facts(bins, labels, folds)
        table[f"{kind}_auc"] = _areas(bins, labels, folds).round(4)
        table[f"{kind}_fact"] = [facts[number] for number in best]
    return Shortcuts(table, skipped)


def _common_images(manifest: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return MAX_IMAGES images, without rare labels, and the names of these labels.

    They are the ones whose image_id sorts first: it is a hash, so the images are drawn at random,
    and are always the same.
    """
    is_sound = manifest["pixels_id"].notna() & (manifest["label"].str.strip() != "")
    facts = [fact for kind in FACTS.values() for fact in kind]
    columns = ["path", "label", "image_id", "pixels_id", *facts]
    images = manifest.loc[is_sound, columns].sort_values(["image_id", "path"]).head(MAX_IMAGES)
    counts = images["label"].value_counts()
    is_common = images["label"].isin(counts.index[counts >= MIN_IMAGES])
    rare = set(manifest.loc[is_sound, "label"]) - set(images.loc[is_common, "label"])
    return images[is_common], tuple(sorted(rare))


def _bins(fact: pd.Series) -> Labels:
    """Number the values of a fact, 0 to BINS: words and few numbers as they are, others by rank."""
    numbers: Labels
    numbers, values = pd.factorize(fact, sort=True)
    if len(values) > BINS and pd.api.types.is_numeric_dtype(fact):
        numbers = pd.qcut(fact, BINS, labels=False, duplicates="drop").to_numpy(np.intp)
    return numbers.clip(max=BINS)


def _areas(bins: Labels, labels: Labels, folds: Labels) -> NDArray[np.float64]:
    """Return float [labels]: the area under the ROC curve of every label against the rest."""
    from sklearn.metrics import roc_auc_score

    is_label = np.eye(labels.max() + 1, dtype=bool)[labels]
    areas: NDArray[np.float64]
    areas = roc_auc_score(is_label, _probabilities(bins, labels, folds), average=None)
    return areas


def _best_facts(bins: Labels, labels: Labels, folds: Labels) -> Labels:
    """Return int [labels]: the fact that alone gives a label's own images the highest probability.

    An area under the curve for each fact and label would take five times as long.
    """
    rows = np.arange(len(labels))
    sums = [
        np.bincount(labels, _probabilities(bins[:, [fact]], labels, folds)[rows, labels])
        for fact in range(bins.shape[1])
    ]
    best: Labels = np.argmax(sums, axis=0)
    return best


def _probabilities(bins: Labels, labels: Labels, folds: Labels) -> NDArray[np.float64]:
    from sklearn.naive_bayes import CategoricalNB

    return cross_probabilities(CategoricalNB(min_categories=BINS + 1), bins, labels, folds)
