"""Model params → a classifier with backbone and head, from uint8 pixels to probabilities.

A classifier also holds the class names and the image size that it was trained with.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.errors import UserError
from components.model.backbones import build_backbone
from components.params.model import Model
from components.progress import track

PREDICTION_BATCH = 64


@dataclass(frozen=True)
class Classifier:
    """A network, and the facts that its user needs.

    model: keras.Model from uint8 [N, size, size, 3] to probabilities float32 [N, num_classes], with
    the layers `backbone`, `dropout`, `logits` and `probabilities`.
    class_names: the class of each column of the probabilities.
    size: side of the images in pixels. resize: how images of other sizes are resized.
    started_from: `none` (random weights), `imagenet`, or the sha256 of the model that gave the
    first weights.
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
        """Return the network from pixels to logits; it shares the weights of `model`."""
        import keras

        return keras.Model(self.model.input, self.model.get_layer("logits").output)

    @property
    def head(self) -> Any:
        """Return the network from features to logits; it shares the weights of `model`."""
        import keras

        features = keras.Input(self.backbone.output.shape[1:])
        hidden = self.model.get_layer("dropout")(features)
        return keras.Model(features, self.model.get_layer("logits")(hidden))


def build_classifier(
    model: Model, class_names: Sequence[str], size: int, resize: str
) -> Classifier:
    """Build a classifier. Its head has random weights, its backbone random or ImageNet weights.

    size: side of the square images in pixels. resize: how the images were resized.
    Raises UserError if the backbone is unknown, if it does not accept the size or width, or if its
    ImageNet weights are not available.
    """
    started_from = "imagenet" if model.weights == "imagenet" else "none"
    backbone = build_backbone(model, size)
    return _add_head(backbone, model, class_names, resize, started_from)


def warm_start_classifier(
    model: Model,
    class_names: Sequence[str],
    size: int,
    resize: str,
    source: Classifier,
    source_id: str,
) -> Classifier:
    """Build a classifier that starts with the weights of the classifier `source`.

    Its backbone is the backbone of `source`. Its head has a column of weights for each class. The
    column of a class that `source` knows is copied from `source`; all other columns are random.
    source_id: sha256 of the file that `source` was read from. Do not use `source` afterwards, since
    the new classifier may share its layers.
    Raises UserError if the backbone that `model` names is unknown, does not accept the size or
    width, or is not the backbone of `source`.
    """
    expected = build_backbone(model.model_copy(update={"weights": "none"}), size)
    backbone = source.backbone
    _check_same_architecture(expected, backbone, model, source)
    if size != source.size:
        expected.set_weights(backbone.get_weights())
        backbone = expected
    backbone.trainable = True  # Some layers may have been frozen when the file was saved.
    classifier = _add_head(backbone, model, class_names, resize, source_id)
    _copy_known_classes(classifier, source)
    return classifier


def _add_head(
    backbone: Any, model: Model, class_names: Sequence[str], resize: str, started_from: str
) -> Classifier:
    import keras

    size = backbone.input_shape[1]
    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    hidden = keras.layers.Dropout(model.dropout, name="dropout")(backbone(images))
    logits = keras.layers.Dense(len(class_names), name="logits")(hidden)
    probabilities = keras.layers.Softmax(name="probabilities", dtype="float32")(logits)
    network = keras.Model(images, probabilities, name=model.backbone)
    return Classifier(network, tuple(class_names), size, resize, started_from)


def _check_same_architecture(
    expected: Any, backbone: Any, model: Model, source: Classifier
) -> None:
    """Raise UserError if the backbone has another architecture than the expected one.

    The shapes of all weights must be equal. If the weights are for another image size, the types of
    all layers must also be equal, since some layers have no weights. For example, Keras adds a
    Rescaling layer to an EfficientNet with ImageNet weights.
    """
    networks = (expected, backbone)
    shapes = [[weight.shape for weight in network.get_weights()] for network in networks]
    kinds = [[type(layer) for layer in leaf_layers(network)] for network in networks]
    if shapes[0] != shapes[1] or (source.size != expected.input_shape[1] and kinds[0] != kinds[1]):
        raise UserError(
            "model.weights are of another backbone, width or size; write the values that "
            f"the weights were trained with. Received: weights of {source.model.name} with "
            f"{backbone.count_params()} parameters at {source.size} px for {model.backbone} with "
            f"{expected.count_params()} parameters at {expected.input_shape[1]} px"
        )


def _copy_known_classes(classifier: Classifier, source: Classifier) -> None:
    logits = classifier.model.get_layer("logits")
    kernel, bias = logits.get_weights()
    known_kernel, known_bias = source.model.get_layer("logits").get_weights()
    for column, name in enumerate(classifier.class_names):
        if name in source.class_names:
            known = source.class_names.index(name)
            kernel[:, column], bias[column] = known_kernel[:, known], known_bias[known]
    logits.set_weights([kernel, bias])


def leaf_layers(layer: Any) -> Iterator[Any]:
    """Yield the layers that contain no other layers, in order from the input to the output."""
    inner = getattr(layer, "layers", None)
    if inner is None:
        yield layer
    else:
        for part in inner:
            yield from leaf_layers(part)


def predict(classifier: Classifier, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return probabilities float32 [N, num_classes] of images uint8 [N, size, size, 3]."""
    return outputs(classifier.model, images)


def outputs(model: Any, inputs: NDArray[Any], shown: str = "") -> NDArray[np.float32]:
    """Return the outputs of a keras.Model, float32 [N, …], computed batch by batch.

    inputs: [N, …]. shown: the text of the progress bar; if it is empty, no bar is shown.
    """
    starts = range(0, len(inputs), PREDICTION_BATCH)
    parts = [
        _padded_outputs(model, np.asarray(inputs[start : start + PREDICTION_BATCH]))
        for start in (track(starts, shown, len(starts)) if shown else starts)
    ]
    return np.concatenate(parts) if parts else np.empty((0, model.output_shape[-1]), np.float32)


def _padded_outputs(model: Any, batch: NDArray[Any]) -> NDArray[np.float32]:
    """Return the outputs of a batch, which is padded with zeros to the full length.

    Only the last batch can be shorter. Without padding Keras would compile the network again.
    """
    missing = PREDICTION_BATCH - len(batch)
    filled = np.pad(batch, [(0, missing)] + [(0, 0)] * (batch.ndim - 1))
    result: NDArray[np.float32] = model.predict_on_batch(filled)[: len(batch)]
    return result
