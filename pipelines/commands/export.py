"""A model, a format → the model in this format, compared with the model itself, and a page.

The test split and the training images come from data/prepare. No file of a stage is changed.
"""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.errors import UserError
from components.evaluation.interval import Interval
from components.export.calibration import calibration_rows
from components.export.comparison import Comparison, compare, latencies_ms
from components.export.description import Source, describe, interval_text
from components.export.page import COLUMNS, exports_page, table_rows
from components.export.targets import Target, find_target
from components.files import write_whole
from components.model.classifier import Classifier, predict
from components.model.model_file import model_id, read_classifier
from components.params.reader import Params, read_params
from components.registry.addresses import find_model
from components.registry.versions import Version, version_of_model, versions
from components.serving.model import build_model
from components.tracking import run_folders
from components.tracking.connection import connect, while_mlflow_answers
from components.training_set.pixels import read_images
from pipelines import artifacts
from pipelines.commands.console import show_lines, show_table
from pipelines.commands.model_option import model_address
from pipelines.commands.output_option import check_place
from pipelines.formats import read_table, read_tree, write_text, write_tree

log = logging.getLogger(__name__)

Images = NDArray[np.uint8]
FOLDER = Path("data/export")  # no stage reads it, and DVC does not track it
PAGE = FOLDER / "report.html"


@dataclass(frozen=True)
class Options:
    """The options of `fovea export`.

    target: a name of `targets.TARGETS`. model: as for `model_address`. output: the file or folder
    to write; None for the usual one in data/export. replace: whether an earlier export at this
    path is replaced.
    """

    target: str
    model: str | None
    output: Path | None
    replace: bool


def export_model(options: Options) -> None:
    """Write a model in another format, if it loses no more accuracy than params.yaml allows.

    Beside the export, a JSON file describes it. data/export/report.html has a table of all exports
    of this model in data/export, and so has the run of the version in MLflow, if there is one.
    Raises UserError, and leaves nothing behind, if params.yaml breaks a rule, if packages are
    missing, if the path exists, if there is no such model, if the test split is missing, empty or
    of other classes or pixels than the model's, if the format lacks an operator, or if the export
    loses too much.
    """
    target = find_target(options.target)
    params = read_params(Path("params.yaml"))
    path = options.output or FOLDER / target.file
    _check_output(path, target, options.replace)
    found = find_model(model_address(options.model), "--model")
    classifier = read_classifier(found.path)
    identity = model_id(found.path)
    statistics = _fitting_statistics(classifier)
    images, labels = _split("test", classifier, statistics)
    calibration = _calibration_images(classifier, statistics) if target.calibrated else None
    version = found.version or _registered(params.register_.name, identity)
    model = build_model(classifier, version)

    artifacts.STATE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=artifacts.STATE) as folder:
        built = Path(folder) / target.file
        exported = target.convert(classifier, built, calibration)
        log.info(f"{target.name} is written; comparing it on {len(labels)} test images")
        comparison = compare(
            labels,
            predict(classifier, images),
            exported.predict(images),
            params.evaluate.confidence,
        )
        _check_drop(comparison, target, params)
        source = Source(
            identity,
            f"{version.name}/{version.number}" if version else None,
            found.path.stat().st_size,
            latencies_ms(model.compute, images),
        )
        description = describe(
            target.name,
            built,
            classifier,
            model.rules.model_dump(mode="json"),
            exported,
            source,
            comparison,
            latencies_ms(exported.compute, images),
        )
        # The description comes first: `--replace` needs it if this process is killed in between.
        write_tree(_beside(path), description)
        with write_whole(path) as temporary:
            shutil.move(built, temporary)
    # The newest is the last one: the row of the model has the figures of its measurement.
    described = _other_descriptions(identity, path) | {path: description}
    title = f"{version.name}, version {version.number}" if version else str(found.path)
    write_text(PAGE, exports_page(title, described))
    if version:
        while_mlflow_answers(partial(_log, version, described))
    _show(path, described, comparison)


def _check_output(path: Path, target: Target, replace: bool) -> None:
    """Raise UserError if the path of the export or of its description is taken."""
    if not path.name:
        raise UserError(f"--output must be a new file or folder; give its path. Received: {path}")
    check_place(path, "--output")
    taken = next((each for each in (path, _beside(path)) if os.path.lexists(each)), None)
    if taken is None:
        return
    # After a kill, the description may be there alone.
    other_kind = path.exists() and path.is_dir() != (target.name == "saved_model")
    described = _description(_beside(path))
    if other_kind or described is None or described["format"] != target.name:
        raise UserError(
            f"--output exists, and is no earlier export to {target.name}; give another path. "
            f"Received: {taken}"
        )
    if not replace:
        raise UserError(
            f"--output has an earlier export; add --replace to replace it, or give another path. "
            f"Received: {path}"
        )


def _beside(path: Path) -> Path:
    """Return the path of the description of an export."""
    return path.with_name(f"{path.name}.json")


def _description(file: Path) -> dict[str, Any] | None:
    """Return the content of a description; None if the file is missing or something else."""
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = isinstance(tree, dict) and {"format", "model_id", "check"} <= tree.keys()
    return tree if known else None


def _other_descriptions(identity: str, newest: Path) -> dict[Path, dict[str, Any]]:
    """Return the exports of a model in data/export but `newest`, in the order of their names."""
    found = {}
    for file in sorted(FOLDER.glob("*.json")):
        tree = _description(file)
        path = file.with_suffix("")
        if path.resolve() == newest.resolve() or not path.exists():
            continue
        if tree is not None and tree["model_id"] == identity:
            found[path] = tree
    return found


def _fitting_statistics(classifier: Classifier) -> dict[str, Any]:
    """Return the content of statistics.json, if the prepared images fit the model."""
    statistics: dict[str, Any] = read_tree(artifacts.STATISTICS)
    prepared = (statistics["size"], statistics["resize"], set(statistics["class_names"]))
    wanted = (classifier.size, classifier.resize, set(classifier.class_names))
    if prepared != wanted:
        raise UserError(
            "the images in data/prepare must have the size, the resizing and the classes of the "
            "model, because the export is compared on them; set prepare.size and prepare.resize "
            "and run `dvc repro prepare`, or choose another --model. Received: model "
            f"{_in_words(*wanted)}; data {_in_words(*prepared)}"
        )
    return statistics


def _in_words(size: int, resize: str, names: set[str]) -> str:
    return f"{size} pixels, {resize}, {len(names)} classes"


def _split(
    split: str, classifier: Classifier, statistics: Mapping[str, Any]
) -> tuple[Images, NDArray[np.int64]]:
    """Return the pixels of a split, and its labels as columns of the model's probabilities."""
    rows = read_table(artifacts.rows(split))
    if rows.empty:
        raise UserError(
            f"an export is compared on the split test and calibrated on train; give the split "
            f"images by `split.{split}`, and run `dvc repro prepare`. Received: no image in {split}"
        )
    images = read_images(artifacts.images(split), statistics["pixels"][split])
    column = {name: index for index, name in enumerate(classifier.class_names)}
    return images, rows["label"].map(column).to_numpy(np.int64)


def _calibration_images(classifier: Classifier, statistics: Mapping[str, Any]) -> Images:
    """Return the pixels of some training images."""
    images, labels = _split("train", classifier, statistics)
    return np.asarray(images[calibration_rows(labels)])


def _registered(name: str, identity: str) -> Version | None:
    """Return the version of a model file, or None if it has none or if MLflow does not answer."""

    def ask() -> Version | None:
        connect()
        return version_of_model(versions(name), identity)

    try:
        return while_mlflow_answers(ask)
    except UserError as error:
        log.warning(f"the result goes to no version, because MLflow does not answer: {error}")
        return None


def _check_drop(comparison: Comparison, target: Target, params: Params) -> None:
    allowed = params.export.max_accuracy_drop
    if comparison.drop > allowed:
        raise UserError(
            f"the export to {target.name} loses more accuracy than export.max_accuracy_drop "
            f"allows, so it is not kept; choose another --to, or raise the limit of {allowed}. "
            f"Received: accuracy {_value(comparison.accuracy)} instead of "
            f"{_value(comparison.model_accuracy)} on {comparison.images} test images"
        )


def _value(interval: Interval) -> str:
    return f"{interval.value:.4f}"


def _log(version: Version, described: Mapping[Path, Mapping[str, Any]]) -> None:
    """Add the page, the table and the descriptions to the artifacts of the version's run."""
    if not version.run.exists():
        return
    folder = f"{run_folders.EXPORTS}/{version.name}"
    version.run.log_files(PAGE, *map(_beside, described), folder=folder)
    rows = [row.cells for row in table_rows(described)]
    version.run.log_table(f"{folder}/exports.json", COLUMNS, rows)


def _show(path: Path, described: Mapping[Path, Mapping[str, Any]], comparison: Comparison) -> None:
    rows = [row.cells for row in table_rows(described)]
    show_table("", (COLUMNS[0], *(f">{name}" for name in COLUMNS[1:])), rows)
    show_lines(
        f"{path}: the same class as the model for {interval_text(comparison.agreement)} of "
        f"{comparison.images} test images",
        f"{_beside(path)}: its input, classes and preprocessing",
        f"{PAGE}: the exports of this model",
    )
