"""Our .keras file, byte by byte → a folder that MLflow can load, serve and show as a model."""

import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mlflow.models import Model

# Where Keras' flavor keeps the file inside the folder, and so where we look for it again.
WEIGHTS = "data/model.keras"
# What loading and predicting take. Without the list, MLflow finds it out, which takes 15 s.
REQUIRED = ("mlflow", "keras", "tensorflow", "numpy")


@dataclass(frozen=True)
class _AsItIs:
    """Stands in for a Keras model while MLflow saves it; saving copies the file."""

    file: Path

    def save(self, path: str) -> None:
        shutil.copyfile(self.file, path)


def write_model_folder(
    folder: Path, file: Path, example: NDArray[np.uint8], classes: int, model: "Model"
) -> None:
    """Write MLmodel, requirements, signature, input example and the file itself into `folder`.

    file: a `.keras` file; it arrives as WEIGHTS with the same bytes. example: uint8 [1, S, S, 3].
    classes: the number of probabilities that the model returns. model: MLflow's description, which
    is completed. Neither pickles nor code are written; Keras loads the file in its safe mode.
    """
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
