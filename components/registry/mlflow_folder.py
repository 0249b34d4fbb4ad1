"""A .keras file → a model folder for MLflow; it contains an unchanged copy of the .keras file.

MLflow can load and serve a model from such a folder, in two ways, which MLflow calls flavors:

- `python_function`: from the bytes of image files to class names and probabilities. The loader is
  the module LOADER of the installed Fovea. `mlflow.pyfunc.load_model`, `mlflow models predict` and
  `mlflow models serve` use this flavor.
- `keras`: the network alone, from pixels uint8 [N, size, size, 3] to probabilities.
"""

import shutil
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.files import sha256
from components.images.png_writer import encode_png
from components.model.backend import load_keras
from components.tracking.connection import client, experiment_id
from components.tracking.runs import Run

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature

# The path of the .keras file inside the model folder. MLflow's code for Keras expects this path.
WEIGHTS = "data/model.keras"
# The module with the function `_load_pyfunc`. MLflow imports it by its name. It is not imported
# here, because the room `serving` is above this room.
LOADER = "components.serving.pyfunc"
# The packages that are needed to load the model and to predict. Without this list MLflow would
# find out by itself which packages are needed. This takes about 15 s. Fovea itself is not in the
# list: pip would look for its name in a public index, where a stranger may use the same name.
REQUIRED = (
    *("mlflow", "keras", "tensorflow", "numpy", "pandas", "pydantic"),
    *("pillow", "simplejpeg", "opencv-python-headless"),
)


@dataclass(frozen=True)
class _AsItIs:
    """An object that is passed to MLflow instead of a Keras model.

    MLflow calls the method `save` of a model to write the model. Here `save` copies the file at the
    path `file` without a change.
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
    """Create a logged model in MLflow from a .keras file, and return the id of the logged model.

    "Logged model" is MLflow's word for a model folder that is stored in MLflow. MLflow shows it as
    an output of `run`.

    name: the name of the logged model. model_path: the path of the .keras file. run: the MLflow run
    in which the model was trained. example: uint8 [1, size, size, 3], a real image as an example of
    the input. classes: the number of classes of the model. shown: the names of metrics of `run`
    that MLflow also shows on the page of the logged model.

    If the model folder cannot be stored, the status of the logged model becomes FAILED, and the
    exception is raised again.
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
    """Write a model folder: the .keras file, and the files that MLflow needs to load the model.

    The files for MLflow describe the model, its flavors, the columns of its input and output, and
    the packages that it needs. One of these files contains an example of the input. MLmodel has the
    sha256 of the .keras file, which LOADER compares before it opens the file.

    folder: the path of the folder; it is created if it does not exist. file: the path of the .keras
    file, which is copied to WEIGHTS without a change. example: uint8 [1, size, size, 3], a real
    image as an example of the input. classes: the number of classes of the model. model: MLflow's
    description of the model. This function sets its missing fields.

    The folder contains no pickle and no code. Keras loads the .keras file in its safe mode, so no
    code inside the file is executed.
    """
    # load_keras hides the start messages of TensorFlow, so it must be called before MLflow imports
    # Keras.
    load_keras()
    import mlflow.keras
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    images = TensorSpec(np.dtype(np.uint8), (-1, *example.shape[1:]))
    probabilities = TensorSpec(np.dtype(np.float32), (-1, classes))
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # MLflow compares the columns of the example with a range, which pandas will not allow.
        warnings.filterwarnings("ignore", "Operation with range is deprecated")
        mlflow.keras.save_model(
            _AsItIs(file),
            str(folder),
            mlflow_model=model,
            signature=ModelSignature(Schema([images]), Schema([probabilities])),
            input_example=pd.DataFrame({"image": [encode_png(example[0])]}),
            pip_requirements=requirements(),
        )
    # mlflow.tensorflow.load_model can load the folder only if the next line is executed. For
    # mlflow.keras.load_model the line is not needed.
    model.flavors["keras"]["save_format"] = "tf"
    # MLflow's function for Keras has written its own flavor `python_function`, which takes pixels.
    mlflow.pyfunc.add_to_model(
        model,
        loader_module=LOADER,
        data=WEIGHTS,
        conda_env="conda.yaml",
        python_env="python_env.yaml",
        model_config={"sha256": sha256(file)},
    )
    model.signature = _signature()
    model.save(str(folder / "MLmodel"))


def _signature() -> "ModelSignature":
    """Return the columns of the flavor `python_function`. In JSON, bytes are written as base64.

    For an image that the decoder refuses, only the column `fault` has a value.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Map

    return ModelSignature(
        Schema([ColSpec(DataType.binary, "image")]),
        Schema(
            [
                ColSpec(DataType.string, "label", required=False),
                ColSpec(DataType.double, "probability", required=False),
                ColSpec(Map(DataType.double), "probabilities", required=False),
                ColSpec(DataType.string, "fault", required=False),
            ]
        ),
    )


def requirements() -> list[str]:
    """Return `name==version` for each package in REQUIRED, with the version installed here."""
    return [f"{name}=={metadata.version(name)}" for name in REQUIRED]


def _show_metrics(run: Run, logged_id: str, shown: Sequence[str]) -> None:
    """Let MLflow show the latest value of each metric in `shown` on the page of the logged model.

    For this, each value is logged again, together with the id of the logged model. The time and the
    step stay the same. So MLflow does not store the value in the run a second time.

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
