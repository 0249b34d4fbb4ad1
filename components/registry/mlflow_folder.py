"""Our .keras file, byte by byte → a model that MLflow can load, serve and show beside its run."""

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.model.backend import load_keras
from components.tracking.connection import client, experiment_id
from components.tracking.runs import Run

if TYPE_CHECKING:
    from mlflow.models import Model

# Where Keras' flavor keeps the file inside the folder, and so where we look for it again.
WEIGHTS = "data/model.keras"
# What loading and predicting take. Without the list, MLflow finds it out, which takes 15 s.
REQUIRED = ("mlflow", "keras", "tensorflow", "numpy")


@dataclass(frozen=True)
class _AsItIs:
    """What MLflow takes for a Keras model: saving it copies the file."""

    file: Path

    def save(self, path: str) -> None:
        shutil.copyfile(self.file, path)


def log_model(
    name: str,
    model_path: Path,
    run: Run,
    example: NDArray[np.uint8],
    classes: int,
    shown: Sequence[str],
) -> str:
    """Store the file as MLflow 3's logged model, an output of `run`; return MLflow's id of it.

    example: uint8 [1, S, S, 3], a real image. classes: the number of probabilities. shown: metrics
    of the run to show beside it. What fails in between leaves a logged model marked FAILED.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    logged = client().create_logged_model(experiment_id(), name, run.id, model_type="classifier")
    try:
        described = Model(
            artifact_path=logged.artifact_location,
            run_id=run.id,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
        )
        with tempfile.TemporaryDirectory() as folder:
            write_model_folder(Path(folder), model_path, example, classes, described)
            client().log_model_artifacts(logged.model_id, folder)
    except BaseException:
        with suppress(Exception):
            client().finalize_logged_model(logged.model_id, "FAILED")
        raise
    client().finalize_logged_model(logged.model_id, "READY")
    client().log_outputs(run.id, [LoggedModelOutput(logged.model_id, step=0)])
    _show_metrics(run, logged.model_id, shown)
    return str(logged.model_id)


def write_model_folder(
    folder: Path, file: Path, example: NDArray[np.uint8], classes: int, model: "Model"
) -> None:
    """Write MLmodel, requirements, signature, input example and the file itself into `folder`.

    file: a `.keras` file; it arrives as WEIGHTS with the same bytes. example: uint8 [1, S, S, 3].
    classes: the number of probabilities that the model returns. model: MLflow's description, which
    is completed. Neither pickles nor code are written; Keras loads the file in its safe mode.
    """
    load_keras()  # before MLflow does, for the sake of what TensorFlow writes at its start
    import mlflow.keras
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    images = TensorSpec(np.dtype(np.uint8), (-1, *example.shape[1:]))
    probabilities = TensorSpec(np.dtype(np.float32), (-1, classes))
    folder.mkdir(parents=True, exist_ok=True)
    mlflow.keras.save_model(
        _AsItIs(file),
        str(folder),
        mlflow_model=model,
        signature=ModelSignature(Schema([images]), Schema([probabilities])),
        input_example=example,
        pip_requirements=requirements(),
    )
    # With this line mlflow.tensorflow.load_model takes the folder, too, and not only mlflow.keras.
    model.flavors["keras"]["save_format"] = "tf"
    model.save(str(folder / "MLmodel"))


def requirements() -> list[str]:
    """Return the packages that the model needs, pinned to the versions it was made with."""
    return [f"{name}=={metadata.version(name)}" for name in REQUIRED]


def _show_metrics(run: Run, logged_id: str, shown: Sequence[str]) -> None:
    """Show the run's newest values beside the logged model, at their own times: none is doubled."""
    from mlflow.entities import Metric

    latest = [client().get_metric_history(run.id, name)[-1:] for name in shown]
    metrics = [
        Metric(metric.key, metric.value, metric.timestamp, metric.step, model_id=logged_id)
        for history in latest
        for metric in history
    ]
    if metrics:
        client().log_batch(run.id, metrics=metrics)
