"""Metrics, training history, calibration and wrong predictions → one HTML page."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.calibration.effect import Effect
from components.evaluation.interval import Interval
from components.evaluation.metrics import PER_CLASS, ClassMetrics, Metrics
from components.evaluation.predictions import Mistake
from components.evaluation.reliability import Diagram, reliability_diagram
from components.images.png_writer import encode_png
from components.pages.charts import LineChart, line_chart
from components.pages.page import data_uri, render

TEMPLATE = Path(__file__).with_name("report.html.jinja")
# The maximum number of classes for which the page shows the confusion matrix. A larger matrix would
# not be readable. The list of the most frequent confusions (see the class `Confusion`) is shown for
# any number of classes.
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
# The title of each chart, the names of its lines, and the column of history.csv for each line.
CURVES = {
    "Loss": {"train": "loss", "val": "val_loss"},
    "Accuracy": {"train": "accuracy", "val": "val_accuracy"},
}
# The name of a training phase in history.csv → its name on the page.
PHASES = {"head": "head", "finetune": "fine-tune"}
# The metrics at the top of the page. Each has a box of its own, which is called a card.
CARDS = ("accuracy", "balanced_accuracy", "macro_f1", "macro_roc_auc")


@dataclass(frozen=True)
class Subject:
    """The model and the data that the report is about.

    name: the name of the Keras model. size: the width and the height of the images that the model
    gets, in pixels. parameters: the number of weights of the model. counts: `counts[split][label]`
    is the number of images of the class `label` in a split (train, val or test). model_id: the
    sha256 of the model file. data_id: a sha256 of all images of the three splits and their labels.
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
    subject: Subject,
    metrics: Metrics,
    history: pd.DataFrame,
    effect: Effect,
    mistakes: Iterable[Mistake],
) -> str:
    """Return the HTML page. The page contains its styles and pictures, and has no script.

    subject: the model and the data. metrics: the metrics on the test split. history: the table in
    history.csv, which the stage `train` writes; it has one row for each epoch. effect: the
    temperature and what it changed on val, as in calibration.json. mistakes: the test images with
    wrong predictions that the page shows.

    The page has a light and a dark mode and can be printed. The same arguments give the same page.
    Class names and file names come from the data set, so they may contain characters with a meaning
    in HTML, such as `<`. The template escapes these characters.
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
        effect=effect,
        diagrams=_diagrams(metrics, effect),
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


def _diagrams(metrics: Metrics, effect: Effect) -> list[Diagram]:
    val = {"before": effect.before, "after": effect.after}
    return [
        reliability_diagram("Val, before and after the temperature", val),
        reliability_diagram("Test, after the temperature", {"after": metrics.calibration}),
    ]


@dataclass(frozen=True)
class _Axis:
    """An axis of scores from `low` to 1. On this axis an interval is drawn as a bar."""

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
