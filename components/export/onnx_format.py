"""A classifier ⇄ an ONNX file, which onnxruntime and many other runtimes read."""

import logging
import warnings
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.export.exported import Exported, Floats, Images, Tensor, image_shape
from components.model.backend import THREADS
from components.model.classifier import Classifier

STANDARD = ("", "ai.onnx")  # the domain of ONNX's own operators, in both spellings


def write_onnx(classifier: Classifier, path: Path) -> None:
    """Write the file `path`. The backend of Keras must be TensorFlow.

    Raises UserError if ONNX has no operator for a part of the network.
    """
    import keras

    # Without a signature, Keras exports only a model that has predicted before.
    pixels = keras.InputSpec("uint8", (None, classifier.size, classifier.size, 3), name="images")
    # tf2onnx reports its progress, and each operator that it does not know, as an error of its own.
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Keras looks whether NumPy has `object`
        classifier.model.export(str(path), format="onnx", verbose=False, input_signature=[pixels])
    if unknown := unknown_operators(path):
        raise UserError(
            "--to: ONNX has no operator for a part of this model; choose saved_model, or train "
            f"another backbone. Received: {', '.join(unknown)}"
        )


def unknown_operators(path: Path) -> list[str]:
    """Return the names of the operators in a file that are not in the standard.

    tf2onnx leaves an operator of TensorFlow that it cannot convert in the file, under its name in
    TensorFlow.
    """
    import onnx

    model = onnx.load(path)
    (opset,) = (entry.version for entry in model.opset_import if entry.domain in STANDARD)
    return sorted({node.op_type for node in model.graph.node if not _is_known(node, opset)})


def _is_known(node: Any, opset: int) -> bool:
    import onnx

    return node.domain in STANDARD and onnx.defs.has(node.op_type, opset, "")


def read_onnx(path: Path) -> Exported:
    """Open a file that `write_onnx` wrote, on the processor, with THREADS threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (images,), (probabilities,) = session.get_inputs(), session.get_outputs()

    def compute(batch: Images) -> Floats:
        result: Floats = session.run([probabilities.name], {images.name: batch})[0]
        return result

    return Exported(
        compute,
        Tensor(images.name, "uint8", image_shape(images.shape[1])),
        Tensor(probabilities.name, "float32", (None, probabilities.shape[-1])),
    )
