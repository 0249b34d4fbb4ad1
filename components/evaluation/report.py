"""All that was measured and explained on the test split → one HTML page."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.calibration.effect import Effect
from components.evaluation.class_table import few_images
from components.evaluation.evaluation import Evaluation
from components.evaluation.explained import Explained
from components.evaluation.metrics import PER_CLASS, Metrics
from components.evaluation.page.answers import abstention_chart, chosen_answers
from components.evaluation.page.axis import axis_of
from components.evaluation.page.classes import (
    CLASSES_SHOWN,
    THUMBNAILS,
    class_table,
    confusions,
    weakest_class,
)
from components.evaluation.page.corrupted import corruption_charts
from components.evaluation.page.costs import cost_tables
from components.evaluation.page.curves import curve_charts
from components.evaluation.page.mistakes import mistakes_of
from components.evaluation.page.pictures import Images, class_pictures
from components.evaluation.page.slices import slice_chart
from components.evaluation.page.training import history_charts, kept_epoch
from components.evaluation.reliability import Diagram, reliability_diagram
from components.explanation.pictures import colour_bar_png
from components.pages.page import data_uri, render

TEMPLATE = Path(__file__).with_name("page") / "test_report.html.jinja"
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


@dataclass(frozen=True, eq=False)
class Material:
    """The test images and their predictions, of which the page shows pictures, curves and mistakes.

    predicted: the table of N images that `components.evaluation.predictions.predictions` returns.
    images: uint8 [N, size, size, 3], in the same order, also a memory map. roc, precision_recall:
    the tables of `components.evaluation.curves`. costs: the value `balance.costs`. mistakes: the
    value `evaluate.mistakes`.
    """

    predicted: pd.DataFrame
    images: Images
    roc: pd.DataFrame
    precision_recall: pd.DataFrame
    costs: Mapping[str, Mapping[str, float]]
    mistakes: int


def report(
    subject: Subject,
    evaluation: Evaluation,
    history: pd.DataFrame,
    effect: Effect,
    tested: Material,
    explained: Explained,
) -> str:
    """Return the HTML page. The page contains its styles and pictures, and has no script.

    subject: the model and the data. evaluation: all figures on the test split. history: the table
    in history.csv, which the stage `train` writes; it has one row for each epoch. effect: the
    temperature and what it changed on val, as in calibration.json. tested: the images. explained:
    the explained mistakes.

    The page has a light and a dark mode and can be printed. The same arguments give the same page.
    A part that was not measured is left out. The page is bounded: of many classes, slices and
    mistakes it shows some, and says how many are left out. Class names and file names come from the
    data set, so they may contain characters with a meaning in HTML, such as `<`, or invisible ones.
    The template shows all of them.
    """
    metrics = evaluation.metrics
    table = class_table(metrics.classes)
    pictures = class_pictures(tested.predicted, tested.images, table.indices, THUMBNAILS)
    cards = {TITLES[name]: metrics.headlines()[name] for name in CARDS}
    if evaluation.top_k.value is not None:
        cards[f"Top-{evaluation.k} accuracy"] = evaluation.top_k
    parts = {
        "slices": slice_chart(evaluation.slices),
        "curves": curve_charts(
            tested.roc, tested.precision_recall, metrics.classes, metrics.macro_roc_auc.value
        ),
        "costs": cost_tables(tested.costs, evaluation.operating_point),
        "corruptions": corruption_charts(evaluation.robustness, tested.predicted, tested.images),
        "charts": history_charts(history),
    }
    return render(
        TEMPLATE,
        subject=subject,
        evaluation=evaluation,
        metrics=metrics,
        titles=TITLES,
        cards=cards,
        card_axis=axis_of(cards.values()),
        per_class=PER_CLASS,
        most_classes=CLASSES_SHOWN,
        table=table,
        rows=[(metrics.classes[index], pictures[index]) for index in table.indices],
        few=few_images(metrics.classes),
        weakest=weakest_class(metrics.classes),
        confused=confusions(metrics),
        mistakes=mistakes_of(tested.predicted, tested.images, explained, tested.mistakes),
        colour_bar=data_uri(colour_bar_png(), "png"),
        kept=kept_epoch(history),
        effect=effect,
        diagrams=_diagrams(metrics, effect),
        abstention=abstention_chart(evaluation.abstention),
        answers=chosen_answers(evaluation.abstention),
        **parts,
    )


def _diagrams(metrics: Metrics, effect: Effect) -> list[Diagram]:
    val = {"before": effect.before, "after": effect.after}
    return [
        reliability_diagram("Test", {"after": metrics.calibration}),
        reliability_diagram("Val, before and after the temperature", val),
    ]
