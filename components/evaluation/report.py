"""Metrics, history and mistakes of a classifier → one HTML page that needs no other file."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.evaluation.bootstrap import Interval
from components.evaluation.metrics import PER_CLASS, ClassMetrics, Metrics
from components.evaluation.predictions import Mistake
from components.images.png_writer import encode_png
from components.pages.charts import LineChart, line_chart
from components.pages.page import data_uri, render

TEMPLATE = Path(__file__).with_name("report.html.jinja")
# If there are more classes than this number, the page does not show the confusion matrix, because
# the matrix would not be readable. The page always shows the list of the most frequent confusions.
WIDEST_MATRIX = 30
CONFUSIONS = 10  # the maximum number of rows in the list of the most frequent confusions
TITLES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "macro_roc_auc": "Macro ROC AUC",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "roc_auc": "ROC AUC",
}
CURVES = {
    "Loss": {"train": "loss", "val": "val_loss"},
    "Accuracy": {"train": "accuracy", "val": "val_accuracy"},
}
PHASES = {"head": "head", "finetune": "fine-tune"}
CARDS = ("accuracy", "balanced_accuracy", "macro_f1", "macro_roc_auc")


@dataclass(frozen=True)
class Subject:
    """The model and the data that the report is about.

    name: the name of the Keras model. size: the width and the height of the prepared images, in
    pixels. parameters: the number of weights of the classifier. counts: split → class → number of
    images. model_id: the sha256 of the model file. data_id: a sha256 of the accepted images and
    their labels.
    """

    name: str
    size: int
    parameters: int
    counts: Mapping[str, Mapping[str, int]]
    model_id: str
    data_id: str

    def images(self, split: str) -> int:
        """Return the number of images in a split."""
        return sum(self.counts[split].values())


@dataclass(frozen=True)
class Confusion:
    """The test images of the class `label` that were predicted as another class, `predicted`.

    label, predicted: the names of the two classes. images: the number of these images. share:
    `images` divided by the number of all test images of the class `label`.
    """

    label: str
    predicted: str
    images: int
    share: float


def report(
    subject: Subject, metrics: Metrics, history: pd.DataFrame, mistakes: Iterable[Mistake]
) -> str:
    """Return the HTML page. Styles and pictures are inside the page, and it has no script.

    subject: the model and the data. metrics: the metrics on the test split. history: the table in
    history.csv, which the stage `train` writes. mistakes: the mistakes that the page shows.

    The page has a light and a dark mode and can be printed. The same arguments give the same page.
    Class names and file names come from the data set, so they may contain HTML characters. The
    template escapes these characters.
    """
    return render(
        TEMPLATE,
        subject=subject,
        metrics=metrics,
        titles=TITLES,
        cards=CARDS,
        per_class=PER_CLASS,
        card_axis=_axis(metrics.headlines()[name] for name in CARDS),
        class_axis=_axis(getattr(scores, key) for scores in metrics.classes for key in PER_CLASS),
        weakest=_weakest_class(metrics),
        correct=sum(row[index] for index, row in enumerate(metrics.confusion)),
        matrix=metrics.confusion if len(metrics.classes) <= WIDEST_MATRIX else (),
        confusions=sorted(_confusions(metrics), key=lambda row: -row.images)[:CONFUSIONS],
        charts=history_charts(history),
        mistakes=[(mistake, data_uri(encode_png(mistake.pixels), "png")) for mistake in mistakes],
    )


def history_charts(history: pd.DataFrame) -> list[LineChart]:
    """Return a chart of the loss and a chart of the accuracy over the epochs.

    Each chart has a line for train and a line for val. history: one row for each epoch, with the
    columns phase, loss, accuracy, val_loss and val_accuracy. Returns an empty list if `history` has
    no row.
    """
    if history.empty:
        return []
    phases = [PHASES.get(phase, phase) for phase in history["phase"]]
    return [
        line_chart(title, {name: history[key].tolist() for name, key in keys.items()}, phases)
        for title, keys in CURVES.items()
    ]


@dataclass(frozen=True)
class _Axis:
    """An axis from `low` to 1. Interval bars on the same axis can be compared by length."""

    low: float

    def percent(self, value: float) -> float:
        """Return the position of a value on the axis, from 0 (at `low`) to 100 (at 1)."""
        return round(100 * (value - self.low) / (1 - self.low), 2)


def _axis(intervals: Iterable[Interval]) -> _Axis:
    """Return an axis that contains all intervals. `low` is a multiple of 0.1, at most 0.9."""
    lows = [interval.low for interval in intervals if interval.low is not None]
    return _Axis(min(9, *(math.floor(10 * low) for low in lows)) / 10)


def _weakest_class(metrics: Metrics) -> ClassMetrics:
    scores = [scores for scores in metrics.classes if scores.recall.value is not None]
    return min(scores, key=lambda scores: scores.recall.value or 0)


def _confusions(metrics: Metrics) -> Iterator[Confusion]:
    names = [scores.name for scores in metrics.classes]
    for actual, row in enumerate(metrics.confusion):
        for predicted, images in enumerate(row):
            if images and actual != predicted:
                yield Confusion(names[actual], names[predicted], images, images / sum(row))
