"""Prepared rows and probabilities → the table of predictions, and the mistakes worth a look."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.evaluation.bootstrap import Floats

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Mistake:
    """A test image under a wrong name; pixels uint8 [size, size, 3] as the classifier saw them."""

    path: str
    label: str
    predicted: str
    confidence: float
    pixels: Pixels


def predictions(
    rows: pd.DataFrame, probabilities: Floats, class_names: Sequence[str]
) -> pd.DataFrame:
    """Return one row per image, in the order given.

    rows: prepared rows of a split. probabilities: float32 [N, C]. Columns: image_id, path, label,
    label_index, predicted, confidence (the probability of `predicted`), probabilities (list [C]).
    """
    best = probabilities.argmax(axis=1)
    return rows[["image_id", "path", "label", "label_index"]].assign(
        predicted=[class_names[index] for index in best],
        confidence=probabilities[np.arange(len(best)), best],
        probabilities=list(probabilities),
    )


def confusion_rows(predicted: pd.DataFrame) -> pd.DataFrame:
    """Return actual and predicted of every image, which DVC's template `confusion` counts."""
    return predicted[["label", "predicted"]].rename(columns={"label": "actual"})


def confident_mistakes(predicted: pd.DataFrame, images: Pixels, count: int) -> Iterator[Mistake]:
    """Yield the `count` mistakes that the classifier was surest of, the surest first.

    predicted: what `predictions` returns. images: uint8 [N, size, size, 3] in the same order.
    """
    numbered = predicted.reset_index(drop=True)
    wrong = numbered[numbered["predicted"] != numbered["label"]]
    surest = wrong.sort_values(["confidence", "path"], ascending=[False, True]).head(count)
    for row in surest.itertuples():
        yield Mistake(
            path=row.path,
            label=row.label,
            predicted=row.predicted,
            confidence=float(row.confidence),
            pixels=np.asarray(images[row.Index]),
        )
