"""model, prepared test split → metrics, predictions, curves and report, also in MLflow."""

import logging
from collections.abc import Mapping
from typing import Any

from components.calibration.effect import Effect
from components.errors import UserError
from components.evaluation.bootstrap import SEED
from components.evaluation.curves import precision_recall_points, roc_points
from components.evaluation.metrics import Metrics, measure
from components.evaluation.predictions import confident_mistakes, confusion_rows, predictions
from components.evaluation.report import Subject, report
from components.model.classifier import Classifier, predict
from components.model.model_file import model_id as identify
from components.model.model_file import read_classifier
from components.params.evaluate import Evaluate
from components.tracking.connection import connect
from components.tracking.runs import run_for_model
from components.training_set.pixels import read_images
from pipelines import artifacts
from pipelines.formats import read_table, read_tree, write_table, write_text, write_tree
from pipelines.workspace.lineage import origin

log = logging.getLogger(__name__)


def run(evaluate: Evaluate) -> None:
    """Measure the model on the test split. Write the results, also to the model's MLflow run.

    Raises UserError if MLflow does not answer (checked first), or if a file of an earlier stage is
    missing or damaged. Raises UserError if the classes of the model are not the classes of the
    prepared data, if the test split has no image, or if a probability is not finite.
    """
    connect()
    classifier = read_classifier(artifacts.MODEL)
    statistics = read_tree(artifacts.STATISTICS)
    _check_classes(classifier, statistics)

    rows = read_table(artifacts.rows("test"))
    images = read_images(artifacts.images("test"), statistics["pixels"]["test"])
    labels, class_names = rows["label_index"].to_numpy(), classifier.class_names

    probabilities = predict(classifier, images)

    metrics = measure(labels, probabilities, class_names, evaluate, SEED)
    predicted = predictions(rows, probabilities, class_names)
    mistakes = confident_mistakes(predicted, images, evaluate.mistakes)
    history = read_table(artifacts.HISTORY)
    effect = Effect.from_tree(read_tree(artifacts.CALIBRATION))
    subject = _subject(classifier, statistics)

    write_tree(artifacts.METRICS, metrics.to_tree())
    write_text(artifacts.REPORT, report(subject, metrics, history, effect, mistakes))
    for path, table in {
        artifacts.PREDICTIONS: predicted,
        artifacts.CONFUSION: confusion_rows(predicted),
        artifacts.CURVES / "roc.csv": roc_points(labels, probabilities, class_names),
        artifacts.CURVES / "precision_recall.csv": precision_recall_points(
            labels, probabilities, class_names
        ),
    }.items():
        write_table(path, table)
    _log(metrics, subject.model_id)
    log.info(f"{metrics.in_words()}; report: {artifacts.REPORT}")


def _check_classes(classifier: Classifier, statistics: Mapping[str, Any]) -> None:
    prepared = tuple(statistics["class_names"])
    if classifier.class_names != prepared:
        raise UserError(
            "the model must have the classes of the prepared data; run `dvc repro train`. "
            f"Received: model {', '.join(classifier.class_names)}; data {', '.join(prepared)}"
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


def _log(metrics: Metrics, model_id: str) -> None:
    tables = (artifacts.METRICS, artifacts.PREDICTIONS, artifacts.CONFUSION)
    with run_for_model(model_id, origin()) as tracked:
        tracked.log_metrics({f"test_{name}": value for name, value in metrics.to_flat().items()})
        tracked.log_files(*tables, artifacts.CURVES, artifacts.REPORT, folder="evaluate")
