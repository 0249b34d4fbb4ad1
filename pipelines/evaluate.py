"""model, prepared test split → metrics, predictions, curves, slices and report, also in MLflow.

Training images are read only to show those that look like a mistake.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from components.calibration.effect import Effect
from components.errors import UserError
from components.evaluation.abstention import abstention
from components.evaluation.bootstrap import SEED
from components.evaluation.bounds import bounds
from components.evaluation.class_table import class_table, weakest_classes_first
from components.evaluation.curves import (
    precision_recall_points,
    reliability_points,
    roc_points,
)
from components.evaluation.evaluation import Evaluation
from components.evaluation.explained import explain
from components.evaluation.interval import Floats
from components.evaluation.metrics import measure
from components.evaluation.near import training_similarity
from components.evaluation.operating_point import operating_point, point_table
from components.evaluation.predictions import Images, confusion_rows, predictions
from components.evaluation.report import Material, Subject, report
from components.evaluation.robustness import robustness, robustness_table
from components.evaluation.slice_members import Members, slice_members
from components.evaluation.slices import measure_slices, weakest_slices_first
from components.evaluation.top_k import top_k_accuracy
from components.model.classifier import Classifier, predict
from components.model.model_file import model_id as identify
from components.model.model_file import read_classifier
from components.params.evaluate import Evaluate
from components.tracking import run_folders
from components.tracking.connection import connect
from components.tracking.runs import run_for_model
from components.training_set.costs import cost_matrix
from components.training_set.pixels import read_images
from components.words import name_list
from pipelines import artifacts
from pipelines.formats import read_table, read_tree, write_table, write_text, write_tree
from pipelines.workspace.lineage import origin

log = logging.getLogger(__name__)

Costs = dict[str, dict[str, float]]  # true class → predicted class → cost


def run(evaluate: Evaluate) -> None:
    """Measure the model on the test split. Write the results, also to the model's MLflow run.

    Raises UserError if MLflow does not answer (checked first), or if a file of an earlier stage is
    missing or damaged. Raises UserError if the classes of the model are not the classes of the
    prepared data, if a column of `evaluate.slices` is missing or has too many or too few values, if
    the test split has no image, or if a probability is not finite.
    """
    connect()
    classifier = read_classifier(artifacts.MODEL)
    statistics = read_tree(artifacts.STATISTICS)
    _check_classes(classifier, statistics)

    rows = read_table(artifacts.rows("test"))
    train_rows, costs = read_table(artifacts.rows("train")), _costs()
    members = _slices(rows, train_rows, evaluate)
    images = read_images(artifacts.images("test"), statistics["pixels"]["test"])
    train = (_train_images(statistics), train_rows) if evaluate.explain else None
    labels, class_names = rows["label_index"].to_numpy(), classifier.class_names
    for note in bounds(evaluate, len(rows), len(class_names)):
        log.info(note)

    probabilities = predict(classifier, images)

    evaluation = _measure(classifier, images, rows, probabilities, members, costs, evaluate)
    predicted = predictions(rows, probabilities, class_names)
    roc = roc_points(labels, probabilities, class_names)
    precision_recall = precision_recall_points(labels, probabilities, class_names)
    subject = _subject(classifier, statistics)
    page = report(
        subject,
        evaluation,
        read_table(artifacts.HISTORY),
        Effect.from_tree(read_tree(artifacts.CALIBRATION)),
        Material(predicted, images, roc, precision_recall, costs, evaluate.mistakes),
        explain(
            classifier,
            images,
            probabilities,
            labels,
            train,
            artifacts.STATE / "features",
            evaluate,
        ),
    )

    write_tree(artifacts.METRICS, evaluation.to_tree())
    write_text(artifacts.REPORT, page)
    for path, table in {
        artifacts.PREDICTIONS: predicted,
        artifacts.CONFUSION: confusion_rows(predicted),
        artifacts.CLASSES: class_table(evaluation.metrics.classes),
        artifacts.SLICES: evaluation.slices.table(),
        artifacts.OPERATING_POINT: point_table(evaluation.operating_point),
        artifacts.ROBUSTNESS: robustness_table(evaluation.robustness),
        artifacts.CURVES / "reliability.csv": reliability_points(evaluation.metrics.calibration),
        artifacts.CURVES / "abstention.csv": evaluation.abstention.curve,
        artifacts.CURVES / "roc.csv": roc,
        artifacts.CURVES / "precision_recall.csv": precision_recall,
    }.items():
        write_table(path, table)
    _log(evaluation, subject.model_id)
    for line in evaluation.in_words():
        log.info(line)
    log.info(f"{evaluation.metrics.in_words()}; report: {artifacts.REPORT}")


def _measure(
    classifier: Classifier,
    images: Images,
    rows: pd.DataFrame,
    probabilities: Floats,
    members: Sequence[Members],
    costs: Costs,
    evaluate: Evaluate,
) -> Evaluation:
    """Measure the predictions, and predict corrupted copies of the images."""
    labels, class_names = rows["label_index"].to_numpy(), classifier.class_names
    matrix = cost_matrix(costs, class_names) if costs else None
    return Evaluation(
        measure(labels, probabilities, class_names, evaluate, SEED),
        evaluate.top_k,
        top_k_accuracy(labels, probabilities, evaluate.top_k, evaluate.confidence),
        abstention(labels, probabilities, evaluate.confidence),
        measure_slices(labels, probabilities, members, evaluate.confidence),
        operating_point(labels, probabilities, matrix, class_names, evaluate, SEED),
        robustness(images, rows, probabilities, partial(predict, classifier), evaluate),
    )


def _costs() -> Costs:
    costs: Costs = read_tree(artifacts.PLAN)["costs"]
    return costs


def _train_images(statistics: Mapping[str, Any]) -> Images:
    """Return the training images, as a memory map."""
    return read_images(artifacts.images("train"), statistics["pixels"]["train"])


def _slices(rows: pd.DataFrame, train_rows: pd.DataFrame, evaluate: Evaluate) -> list[Members]:
    """Return the slices of the test images. rows, train_rows: the tables of both splits."""
    manifest = read_table(artifacts.MANIFEST).set_index("path")["fingerprint"]
    test, training = (
        [None if pd.isna(value) else value for value in manifest.reindex(each)]
        for each in (rows["path"], train_rows["path"])
    )
    return slice_members(rows, evaluate.slices, training_similarity(test, training))


def _check_classes(classifier: Classifier, statistics: Mapping[str, Any]) -> None:
    prepared = tuple(statistics["class_names"])
    if classifier.class_names != prepared:
        known, needed = set(classifier.class_names), set(prepared)
        raise UserError(
            "the model must have the classes of the prepared data; run `dvc repro train`. "
            f"Received: only in the model: {name_list(known - needed) or 'none'}; only in the "
            f"data: {name_list(needed - known) or 'none'}"
        )


def _subject(classifier: Classifier, statistics: Mapping[str, Any]) -> Subject:
    return Subject(
        name=classifier.model.name,
        size=classifier.size,
        parameters=classifier.model.count_params(),
        counts=statistics["counts"],
        model_id=identify(artifacts.MODEL),
        data_id=statistics["data_id"],
    )


def _log(evaluation: Evaluation, model_id: str) -> None:
    tables = (
        artifacts.METRICS,
        artifacts.PREDICTIONS,
        artifacts.CONFUSION,
        artifacts.CLASSES,
        artifacts.SLICES,
        artifacts.OPERATING_POINT,
        artifacts.ROBUSTNESS,
    )
    with run_for_model(model_id, origin()) as tracked:
        tracked.log_metrics({f"test_{name}": value for name, value in evaluation.to_flat().items()})
        tracked.log_files(artifacts.REPORT, folder=run_folders.TEST_REPORT)
        tracked.log_files(*tables, artifacts.CURVES, folder=run_folders.EVALUATION)
        for name, table in {
            "classes": weakest_classes_first(class_table(evaluation.metrics.classes)),
            "slices": weakest_slices_first(evaluation.slices.table()),
        }.items():
            shown = json.loads(table.to_json(orient="split", index=False))
            path = f"{run_folders.TEST_REPORT}/{name}.json"
            tracked.log_table(path, shown["columns"], shown["data"])
