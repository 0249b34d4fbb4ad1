"""A .keras file → a folder that MLflow can load and serve, with an unchanged copy of the file."""

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

# The path of the .keras file inside the folder. MLflow's Keras flavor defines this path.
WEIGHTS = "data/model.keras"
# The packages that are needed to load the model and to predict. Without this list MLflow would
# search for the packages for about 15 s.
REQUIRED = ("mlflow", "keras", "tensorflow", "numpy")


@dataclass(frozen=True)
class _AsItIs:
    """An object that is passed to MLflow instead of a Keras model.

    MLflow calls `save` to write the model. `save` copies the file without a change.
    """

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
    """Create a logged model in MLflow from the file, and return the id of the logged model.

    A logged model is MLflow 3's object for a stored model. The logged model becomes an output of
    `run`.

    name: the name of the logged model. model_path: the path of the .keras file. run: the MLflow run
    of the model. example: uint8 [1, size, size, 3], a real image as an example of the input.
    classes: the number of classes of the model. shown: the names of metrics of `run` that
    MLflow also shows with the logged model.

    If the file cannot be stored, MLflow shows the logged model as FAILED, and the exception is
    raised again.
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
    """Write to `folder` the .keras file and the files that MLflow needs to load the model.

    The other files describe the model, its signature and its requirements. They also contain an
    example of the input.

    folder: the path of the folder; it is created if it does not exist. file: the path of the .keras
    file; it is copied to WEIGHTS without a change. example: uint8 [1, size, size, 3], a real image
    as an example of the input. classes: the number of classes of the model. model: MLflow's
    description of the model; the missing fields are filled in.

    No pickle and no code is written. Keras loads the file in its safe mode.
    """
    # load_keras hides the start messages of TensorFlow, so it must be called before MLflow imports
    # Keras.
    load_keras()
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
    # mlflow.keras.load_model can load the folder without this line, but
    # mlflow.tensorflow.load_model needs it.
    model.flavors["keras"]["save_format"] = "tf"
    model.save(str(folder / "MLmodel"))


def requirements() -> list[str]:
    """Return `name==version` for each package in REQUIRED, with the version installed here."""
    return [f"{name}=={metadata.version(name)}" for name in REQUIRED]


def _show_metrics(run: Run, logged_id: str, shown: Sequence[str]) -> None:
    """Log the latest value of each metric in `shown` again, now for the logged model.

    Then MLflow shows these values with the logged model. Each value is logged with its old time and
    step. So MLflow sees that it is the same value, and the run gets no second value.

    run: the run that has the metrics. logged_id: the id of the logged model. shown: the names of
    the metrics.
    """
    from mlflow.entities import Metric

    latest = [client().get_metric_history(run.id, name)[-1:] for name in shown]
    metrics = [
        Metric(metric.key, metric.value, metric.timestamp, metric.step, model_id=logged_id)
        for history in latest
        for metric in history
    ]
    if metrics:
        client().log_batch(run.id, metrics=metrics)
