"""manifest → how well each label can be predicted without looking at what a picture shows.

If all images of one class come from one camera, a network may learn the camera instead of the class
(Geirhos et al., 2020, Shortcut learning in deep neural networks). The same happens with a site or a
converter. Labels are predicted from two kinds of facts. Facts of the file (size, format, …) say
nothing about what a picture shows. Facts of the picture are its light and colour. Classes may
really differ in light and colour: a class "day" is brighter than a class "night".
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
MIN_IMAGES = 20  # A class with fewer images is skipped, because its AUC would say little.
MAX_IMAGES = 20_000  # With this many images, an AUC is right to about 0.01.
BINS = 32  # for a fact with many values

COLUMNS = ("label", "images", "file_auc", "file_fact", "picture_auc", "picture_fact")


@dataclass(frozen=True)
class Shortcuts:
    """How well each label with MIN_IMAGES images or more is predicted.

    table: one row for each label, sorted by label. images: how many images were used. file_auc,
    picture_auc: area under the ROC curve, 0.5 if the facts say nothing, 1 if they give the label
    away. file_fact, picture_fact: the fact that predicts the label best when used alone.
    skipped: the labels with fewer images.
    """

    table: pd.DataFrame
    skipped: tuple[str, ...]

    def tree(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"labels": self.table.to_dict("records"), "skipped": list(self.skipped)}


def find_shortcuts(manifest: pd.DataFrame) -> Shortcuts:
    """Predict every label from facts alone, and measure how well.

    The classifier is naive Bayes over facts in bins, so it notices if a value, a threshold or a
    range of a fact gives a label away. It is cross-validated: images with equal pixels are in one
    fold, so no image is predicted by a classifier that was fitted on its copy.
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
    """Return at most MAX_IMAGES images without those of rare labels, and the rare labels.

    The images with the first image_id in sorted order are taken. An image_id is a hash, so this
    draws images as if at random, but always the same ones. A label is rare if fewer than MIN_IMAGES
    images of it are among them.
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
    """Return int [rows]: the bin of each value of a fact, 0 to BINS.

    A fact with more than BINS different numbers gets BINS bins with about the same number of images
    each. Every other value has its own bin, but values after the first BINS share the last bin.
    """
    numbers: Labels
    numbers, values = pd.factorize(fact, sort=True)
    if len(values) > BINS and pd.api.types.is_numeric_dtype(fact):
        numbers = pd.qcut(fact, BINS, labels=False, duplicates="drop").to_numpy(np.intp)
    return numbers.clip(max=BINS)


def _areas(bins: Labels, labels: Labels, folds: Labels) -> NDArray[np.float64]:
    """Return float64 [number of labels]: the area under the ROC curve, each label against the rest.

    bins: int [N, facts]. labels, folds: int [N].
    """
    from sklearn.metrics import roc_auc_score

    is_label = np.eye(labels.max() + 1, dtype=bool)[labels]
    areas: NDArray[np.float64]
    areas = roc_auc_score(is_label, _probabilities(bins, labels, folds), average=None)
    return areas


def _best_facts(bins: Labels, labels: Labels, folds: Labels) -> Labels:
    """Return int [number of labels]: the column of `bins` that predicts each label best alone.

    The best fact is the one that gives the images of a label the highest mean probability of this
    label. To compare areas under ROC curves instead would take five times as long.
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
