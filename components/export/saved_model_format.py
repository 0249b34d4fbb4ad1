"""A classifier ⇄ a folder in TensorFlow's format SavedModel, which TensorFlow Serving reads."""

from pathlib import Path

import numpy as np

from components.export.exported import Exported, Floats, Images, Tensor, image_shape
from components.model.classifier import Classifier

ENDPOINT = "serve"  # the name that Keras gives it; TensorFlow Serving calls it `serving_default`


def write_saved_model(classifier: Classifier, path: Path) -> None:
    """Write the folder `path`. The backend of Keras must be TensorFlow."""
    classifier.model.export(str(path), format="tf_saved_model", verbose=False)


def read_saved_model(path: Path) -> Exported:
    """Open a folder that `write_saved_model` wrote, without Keras."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # its variables live only as long as this object
    signature = loaded.signatures["serving_default"]
    (images,) = signature.structured_input_signature[1].values()
    ((name, shape),) = signature.output_shapes.items()

    def compute(batch: Images) -> Floats:
        result: Floats = np.asarray(getattr(loaded, ENDPOINT)(tf.constant(batch)))
        return result

    output = Tensor(name, signature.output_dtypes[name].name, (None, shape[-1]))
    return Exported(compute, Tensor(images.name, "uint8", image_shape(images.shape[1])), output)
