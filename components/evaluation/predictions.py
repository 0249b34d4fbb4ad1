"""Test images and their probabilities → a table of predictions, and the most confident mistakes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.evaluation.decision import decided_classes
from components.evaluation.interval import Floats

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Mistake:
    """A test image with a wrong prediction.

    path: the path of the image file. label: the name of the right class. predicted: the name of the
    predicted class. confidence: the probability of the predicted class. pixels: uint8 [size, size,
    3], the decoded and resized image that the classifier got.
    """

    path: str
    label: str
    predicted: str
    confidence: float
    pixels: Images


def predictions(
    rows: pd.DataFrame, probabilities: Floats, class_names: Sequence[str]
) -> pd.DataFrame:
    """Return the table of predictions, one row for each image in the order of `rows`.

    rows: a table with one row for each of N test images, with the columns image_id, path, label and
    label_index. probabilities: float32 [N, C], the probabilities that the classifier predicts;
    column c belongs to class_names[c]. class_names: the names of the C classes.

    Columns of the result: image_id, path, label, label_index, predicted (the name of the predicted
    class), confidence (the probability of the predicted class) and probabilities (float32 [C]).
    """
    best = decided_classes(probabilities)
    return rows[["image_id", "path", "label", "label_index"]].assign(
        predicted=[class_names[index] for index in best],
        confidence=probabilities[np.arange(len(best)), best],
        probabilities=list(probabilities),
    )


def confusion_rows(predicted: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the columns `actual` and `predicted`, one row for each image.

    DVC's plot template `confusion` draws a confusion matrix from these rows. predicted: the table
    that the function `predictions` returns.
    """
    return predicted[["label", "predicted"]].rename(columns={"label": "actual"})


def confident_mistakes(predicted: pd.DataFrame, images: Images, count: int) -> Iterator[Mistake]:
    """Yield the `count` mistakes with the highest confidence, sorted by descending confidence.

    A mistake is an image with a wrong prediction. The confidence of a mistake is the probability of
    the predicted class.

    predicted: the table that the function `predictions` returns. images: uint8 [N, size, size, 3],
    the decoded and resized images, in the order of the rows of `predicted`. count: the maximum
    number of mistakes. If there are fewer mistakes, all mistakes are yielded.
    """
    rows = predicted.reset_index(drop=True)
    wrong = rows[rows["predicted"] != rows["label"]]
    surest = wrong.sort_values(["confidence", "path"], ascending=[False, True]).head(count)
    for row in surest.itertuples():
        yield Mistake(
            path=row.path,
            label=row.label,
            predicted=row.predicted,
            confidence=float(row.confidence),
            pixels=np.asarray(images[row.Index]),
        )
