"""Model params → a classifier: backbone + head, the whole function from uint8 pixels to
probabilities, with the class names and the image size that it was trained for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components import params
from components.errors import UserError
from components.model.backbones import build_backbone
from components.progress import track

PREDICTION_BATCH = 64


@dataclass(frozen=True)
class Classifier:
    """A network with what must be known to use it.

    model: keras.Model from uint8 [N, size, size, 3] to probabilities float32 [N, num_classes], of
    the layers `backbone`, `dropout`, `logits` and `probabilities`.
    class_names: the label of every column.
    size, resize: side in pixels, and the way images of other sizes are brought to it.
    started_from: `none`, `imagenet`, or the sha256 of the model whose weights it started from.
    """

    model: Any
    class_names: tuple[str, ...]
    size: int
    resize: str
    started_from: str

    @property
    def backbone(self) -> Any:
        """Return the layer from pixels to features."""
        return self.model.get_layer("backbone")

    @property
    def logits_model(self) -> Any:
        """Return the same network (shared weights) as far as the logits."""
        import keras

        return keras.Model(self.model.input, self.model.get_layer("logits").output)

    @property
    def head(self) -> Any:
        """Return the part from features to logits, with shared weights."""
        import keras

        features = keras.Input(self.backbone.output.shape[1:])
        hidden = self.model.get_layer("dropout")(features)
        return keras.Model(features, self.model.get_layer("logits")(hidden))


def build_classifier(
    model: params.Model, class_names: Sequence[str], size: int, resize: str
) -> Classifier:
    """Build a classifier with random weights, or ImageNet's below a random head.

    size: side of the square images in pixels; resize: how they were brought to it.
    Raises UserError on a backbone, size, width or weights that cannot be had.
    """
    import keras

    backbone = build_backbone(model, size)
    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    hidden = keras.layers.Dropout(model.dropout, name="dropout")(backbone(images))
    logits = keras.layers.Dense(len(class_names), name="logits")(hidden)
    probabilities = keras.layers.Softmax(name="probabilities", dtype="float32")(logits)
    network = keras.Model(images, probabilities, name=model.backbone)
    started_from = "imagenet" if model.weights == "imagenet" else "none"
    return Classifier(network, tuple(class_names), size, resize, started_from)


def warm_start(classifier: Classifier, source: Classifier, source_id: str) -> Classifier:
    """Give `classifier` the backbone of `source`, and the head's columns of the classes it knows.

    source_id: sha256 of the file that `source` was read from. Returns the same network, in place.
    Raises UserError where the two backbones are not of one architecture.
    """
    ours, theirs = classifier.backbone.get_weights(), source.backbone.get_weights()
    if [weight.shape for weight in ours] != [weight.shape for weight in theirs]:
        raise UserError(
            "model.weights are of another backbone or width; name the same model.backbone and "
            f"model.width as there. Received: {source.backbone.count_params()} parameters for a "
            f"backbone of {classifier.backbone.count_params()}"
        )
    classifier.backbone.set_weights(theirs)
    logits = classifier.model.get_layer("logits")
    kernel, bias = logits.get_weights()
    known_kernel, known_bias = source.model.get_layer("logits").get_weights()
    for column, name in enumerate(classifier.class_names):
        if name in source.class_names:
            known = source.class_names.index(name)
            kernel[:, column], bias[column] = known_kernel[:, known], known_bias[known]
    logits.set_weights([kernel, bias])
    return replace(classifier, started_from=source_id)


def predict(classifier: Classifier, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return probabilities float32 [N, num_classes] of images uint8 [N, size, size, 3]."""
    return outputs(classifier.model, images)


def outputs(model: Any, inputs: NDArray[Any], shown: str = "") -> NDArray[np.float32]:
    """Return what a keras.Model makes of the inputs, a batch in memory at a time.

    shown: what to call this while showing its progress; nothing is shown without it.
    """
    starts = range(0, len(inputs), PREDICTION_BATCH)
    parts = [
        _padded_outputs(model, np.asarray(inputs[start : start + PREDICTION_BATCH]))
        for start in (track(starts, shown, len(starts)) if shown else starts)
    ]
    return np.concatenate(parts) if parts else np.empty((0, model.output_shape[-1]), np.float32)


def _padded_outputs(model: Any, batch: NDArray[Any]) -> NDArray[np.float32]:
    """Fill the last batch with zeros, for a batch of another length would be compiled anew."""
    missing = PREDICTION_BATCH - len(batch)
    filled = np.pad(batch, [(0, missing)] + [(0, 0)] * (batch.ndim - 1))
    result: NDArray[np.float32] = model.predict_on_batch(filled)[: len(batch)]
    return result
