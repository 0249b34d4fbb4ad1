"""A classifier ⇄ a LiteRT file (.tflite), for telephones and small computers; floats or int8.

In an int8 file, the weights and the results of most layers are integers of 8 bits. The scale of
each comes from what the layers give for calibration images (Jacob et al., 2018). The biases make up
for the rounding of the weights, see bias_correction.py.
"""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.export.bias_correction import corrected_biases
from components.export.exported import Exported, Floats, Images, Tensor, image_shape
from components.model.backend import THREADS, hold_native_stderr
from components.model.classifier import Classifier

OPERATOR = re.compile(r"\btf\.([A-Z]\w*)")  # in the message of the converter


def write_litert(classifier: Classifier, path: Path) -> None:
    """Write the file `path`, with floats. The backend of Keras must be TensorFlow.

    Raises UserError if LiteRT has no operator for a part of the network.
    """
    _convert(classifier, path, {})


def write_litert_int8(classifier: Classifier, path: Path, calibration: Images) -> None:
    """Write the file `path`, with int8. The input stays uint8, and the output float32.

    calibration: uint8 [N, size, size, 3], training images of all classes.
    Raises UserError if LiteRT has no operator for a part of the network.
    """
    import tensorflow as tf

    def samples() -> Iterator[list[Images]]:
        for image in calibration:
            yield [image[None]]

    options = {
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "representative_dataset": samples,
    }
    with corrected_biases(classifier, calibration):
        _convert(classifier, path, options)


def _convert(classifier: Classifier, path: Path, options: dict[str, Any]) -> None:
    import tensorflow as tf

    # Keras also allows operators of TensorFlow, which the usual LiteRT runtime does not have.
    allowed = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.tflite"  # Keras writes no file with another ending
        failure = None
        with hold_native_stderr():
            try:
                classifier.model.export(
                    str(file), format="litert", verbose=False, target_spec=allowed, **options
                )
            except Exception as error:  # the class of the converter is private to TensorFlow
                failure = error
        if failure is not None:
            operators = sorted(set(OPERATOR.findall(str(failure))))
            if not operators:
                raise failure
            raise UserError(
                "--to: LiteRT has no operator for a part of this model; choose saved_model, or "
                f"train another backbone. Received: {', '.join(operators)}"
            )
        path.write_bytes(file.read_bytes())


def read_litert(path: Path) -> Exported:
    """Open a file that this module wrote, on the processor, with THREADS threads."""
    with hold_native_stderr():
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(path), num_threads=THREADS)
        interpreter.allocate_tensors()
    (images,), (probabilities,) = interpreter.get_input_details(), interpreter.get_output_details()

    def compute(batch: Images) -> Floats:
        if tuple(interpreter.get_input_details()[0]["shape"]) != batch.shape:
            interpreter.resize_tensor_input(images["index"], batch.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(images["index"], batch)
        interpreter.invoke()
        result: Floats = interpreter.get_tensor(probabilities["index"])
        return result

    return Exported(
        compute,
        Tensor(images["name"], "uint8", image_shape(int(images["shape"][1]))),
        Tensor(probabilities["name"], "float32", (None, int(probabilities["shape"][-1]))),
    )
