"""Manifest → how well each label can be predicted without looking at what a picture shows.

If all images of one class come from one camera, a network may learn to recognize the camera instead
of the class. This is called a shortcut (Geirhos et al., 2020, Shortcut learning in deep neural
networks). The same can happen if all images of a class come from one place, or from one program
that converts images.

To find shortcuts, labels are predicted from two kinds of facts. Facts of the file (size, format, …)
say nothing about what a picture shows. Facts of the picture describe its light and colour. Classes
may really differ in light and colour: images of a class "day" are brighter than images of a class
"night".
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.validation.folds import Labels, cross_probabilities, fold_numbers

# Kind of fact → the facts of this kind. A fact is a column of the manifest.
FACTS = {
    "file": ("width", "height", "aspect", "bytes", "format", "mode"),
    "picture": ("brightness", "contrast", "saturation"),
}
# A class with fewer images is skipped, because its AUC would be inaccurate. The AUC (see Shortcuts)
# says how good a prediction is.
MIN_IMAGES = 20
# The maximum number of images that are used. With this number of images, the error of an AUC is
# about 0.01.
MAX_IMAGES = 20_000
BINS = 32  # maximum number of bins for a fact with many different numbers

# The columns of the table in Shortcuts.
COLUMNS = ("label", "images", "file_auc", "file_fact", "picture_auc", "picture_fact")


@dataclass(frozen=True)
class Shortcuts:
    """How well facts predict each label that has MIN_IMAGES images or more.

    table: a table with one row for each label, sorted by label. It has these columns:

    label: the label.
    images: the number of images of the label that were used.
    file_auc, picture_auc: the area under the ROC curve (AUC) if the label is predicted from facts
        of the file, or from facts of the picture. The AUC is 0.5 if the facts say nothing about the
        label. It is 1 if the prediction separates the label from all other labels without error.
    file_fact, picture_fact: the fact that predicts the label best if only one fact is used.

    skipped: the labels that have fewer than MIN_IMAGES images in the sample of `_common_images`.
    """

    table: pd.DataFrame
    skipped: tuple[str, ...]

    def tree(self) -> dict[str, Any]:
        """Return the table and the skipped labels as plain values for JSON."""
        return {"labels": self.table.to_dict("records"), "skipped": list(self.skipped)}


def find_shortcuts(manifest: pd.DataFrame) -> Shortcuts:
    """Predict every label from facts alone, and measure how good the predictions are.

    The values of each fact are grouped into bins, and the classifier is naive Bayes on the bins. So
    the classifier can use a single value, a threshold or a range of a fact to predict a label. The
    predictions are cross-validated. Images with equal pixels are in one fold, so no image is
    predicted by a classifier that was fitted on a copy of the image.

    If fewer than two labels have enough images, the table of the result is empty.
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
    """Return (images whose labels are not rare, the rare labels in sorted order).

    Images that are not decoded or have no label are left out. The remaining images are sorted by
    image_id, and the first MAX_IMAGES of them are the sample. An image_id is a hash, so the sample
    is like a random sample, but the same manifest always gives the same sample. A label is rare if
    fewer than MIN_IMAGES images of the sample have this label.
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

    If the fact is a number with more than BINS different values, there are at most BINS bins, and
    each bin has about the same number of images. For every other fact, each of the first BINS
    different values (in sorted order) has its own bin, and all later values share the bin BINS.
    """
    numbers: Labels
    numbers, values = pd.factorize(fact, sort=True)
    if len(values) > BINS and pd.api.types.is_numeric_dtype(fact):
        numbers = pd.qcut(fact, BINS, labels=False, duplicates="drop").to_numpy(np.intp)
    return numbers.clip(max=BINS)


def _areas(bins: Labels, labels: Labels, folds: Labels) -> NDArray[np.float64]:
    """Return float64 [number of labels]: the area under the ROC curve of each label.

    The curve compares the images of the label with the images of all other labels.

    bins: int [N, number of facts], the bin of each fact of each image. labels: int [N], the label
    of each image. folds: int [N], the fold of each image.
    """
    from sklearn.metrics import roc_auc_score

    is_label = np.eye(labels.max() + 1, dtype=bool)[labels]
    areas: NDArray[np.float64]
    areas = roc_auc_score(is_label, _probabilities(bins, labels, folds), average=None)
    return areas


def _best_facts(bins: Labels, labels: Labels, folds: Labels) -> Labels:
    """Return int [number of labels]: for each label, the column of `bins` with the best fact.

    A column of `bins` has the bins of one fact. For each fact, a classifier that uses only this
    fact predicts the probability of the label for all images of the label. The best fact is the
    fact with the highest mean of these probabilities. It would be slower to compare areas under ROC
    curves; the times are in docs/decisions/shortcuts-by-naive-bayes.md.
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
