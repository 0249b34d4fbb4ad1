"""The `python_function` flavor of a version in MLflow → predictions on the bytes of images.

A version's MLmodel names this module as the loader. MLflow then calls `_load_pyfunc`, for
`mlflow.pyfunc.load_model`, `mlflow models predict` and `mlflow models serve --env-manager local`.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.images.fault import Fault
from components.images.signatures import name_format
from components.model.model_file import model_id, read_classifier
from components.serving.model import Model, Prediction, build_model

IMAGE = "image"  # the column of the input


class Answers:
    """What MLflow calls to predict. model: the model that answers."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Return a table with one row for each image, in their order.

        data: a pandas.DataFrame with the column `image`: the bytes of an image file. MLflow makes
        it of base64 in JSON; base64 that is still a text is decoded here. params: unused.

        The columns: label, probability, probabilities (class name → probability) and fault (the
        code of the decoder). Either fault is None, or the three others are.
        """
        import pandas as pd

        rows = [_row(prediction) for prediction in self._model.stream(_images(data[IMAGE]))]
        columns = ["label", "probability", "probabilities", "fault"]
        # dtype=object keeps None, which becomes null in JSON; NaN would be no JSON.
        return pd.DataFrame(rows, columns=columns, dtype=object)


def _row(prediction: Prediction) -> dict[str, Any]:
    return {
        "label": prediction.label,
        "probability": prediction.probability,
        "probabilities": dict(prediction.probabilities) or None,
        "fault": prediction.fault,
    }


def _images(column: Any) -> Iterator[bytes | Fault]:
    for value in column:
        if isinstance(value, bytes | bytearray | memoryview):
            content = bytes(value)
            # With the key `inputs`, MLflow gives the bytes of the text of the base64. No image of a
            # known format is such a text.
            decoded = None if name_format(content) else _from_base64(content)
            yield content if decoded is None else decoded
        elif isinstance(value, str):
            decoded = _from_base64(value.encode())
            text = "it is a text, but no base64"
            yield Fault("not_an_image", text) if decoded is None else decoded
        else:
            yield Fault("empty_file", f"no bytes in the column {IMAGE}")


def _from_base64(text: bytes) -> bytes | None:
    """Return the bytes that a text stands for; None if it is no base64. Line breaks are allowed."""
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        return None


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> Answers:
    """Return what answers for a model folder. MLflow calls this function by its name.

    path: the path of the .keras file. model_config: what MLmodel says about the file: its sha256,
    as `sha256`. No code in the file is run.
    Raises UserError if the file has another sha256, or if Fovea did not write it.
    """
    file = Path(path)
    expected, actual = (model_config or {}).get("sha256"), model_id(file)
    if actual != expected:
        raise UserError(
            "the model file was changed since it was registered; its sha256 should be "
            f"{expected}, and the file is not loaded. Received: {actual}"
        )
    return Answers(build_model(read_classifier(file)))
