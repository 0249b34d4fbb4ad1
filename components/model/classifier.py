"""Section `model` of params.yaml → a classifier, which maps uint8 pixels to probabilities.

The network of a classifier has two parts: the backbone maps pixels to features, and the head maps
features to probabilities. After training, the head can add a number to the logits of each class,
and divides the logits by a temperature before the softmax. A classifier also stores its class names
and the size of its images.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.errors import UserError
from components.model.backbones import build_backbone
from components.model.backend import PREDICTION_BATCH, local_outputs, machine_count
from components.params.model import Model


@dataclass(frozen=True)
class Classifier:
    """A network, its class names, the size of its images, and the origin of its first weights.

    model: a keras.Model from pixels uint8 [N, size, size, 3] to probabilities float32
        [N, num_classes], with the layers `backbone`, `dropout`, `logits`, `logit_adjustment` (if
        `model.logit_adjustment` is `tuned`), `temperature` and `probabilities`. A model without the
        layer `temperature` is one that is still trained, or whose file was written before there
        were temperatures.
    class_names: the names of the classes, in the order of the columns of the probabilities.
    size: the side of the square images, in pixels.
    resize: the method by which images of other sizes are resized. `squash`: the aspect ratio
        changes. `crop`: the longer side is cut. `pad`: the shorter side is filled with black.
    started_from: the origin of the weights at the start of training. `none`: the weights were
        random. `imagenet`: the weights were the ImageNet weights. Any other value is the sha256 of
        the model file from which the weights were read.
    sixteen_bit: how images of 16 bits were reduced to 8 bits for training: the value of the param
        `ingest.decode.sixteen_bit`. Whoever decodes images for this classifier needs the same rule.
    """

    model: Any
    class_names: tuple[str, ...]
    size: int
    resize: str
    started_from: str
    sixteen_bit: str | Mapping[str, Any] = "high_byte"  # also of files from before this field

    @property
    def backbone(self) -> Any:
        """Return the layer `backbone`, which maps pixels to features."""
        return self.model.get_layer("backbone")

    @property
    def logits_model(self) -> Any:
        """Return a network that maps pixels to logits and shares its weights with `model`."""
        import keras

        return keras.Model(self.model.input, self.model.get_layer("logits").output)

    @property
    def head(self) -> Any:
        """Return a network that maps features to logits and shares its weights with `model`."""
        import keras

        features = keras.Input(self.backbone.output.shape[1:])
        hidden = self.model.get_layer("dropout")(features)
        return keras.Model(features, self.model.get_layer("logits")(hidden))


def build_classifier(
    model: Model, class_names: Sequence[str], size: int, resize: str
) -> Classifier:
    """Build a classifier with a new head, whose weights are random.

    If `model.weights` is `imagenet`, the backbone has ImageNet weights. Otherwise the backbone has
    random weights.
    model: the section `model` of params.yaml. class_names: the names of the classes. size: the side
    of the square images, in pixels. resize: the method by which the images were resized.
    Raises UserError in the same cases as `build_backbone`.
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

    The backbone gets the weights of the backbone of `source`. The head has a column of weights for
    each class. If `source` has a class of the same name, the column is copied from `source`.
    Otherwise the column is random. The logit adjustment and the temperature of `source` are not
    taken over.

    model: the section `model` of params.yaml. class_names: the names of the classes. size: the side
    of the square images, in pixels. resize: the method by which the images were resized. source: a
    trained classifier. Do not use `source` after this call, because the new classifier may share
    layers with `source`. source_id: the sha256 of the file from which `source` was read.
    Raises UserError if the backbone that `model` names is unknown or does not accept the size or
    width. Also raises UserError if the backbone of `source` and the backbone that `model` names
    have different architectures, for example different widths, or if `source` has no backbone.
    """
    expected = build_backbone(model.model_copy(update={"weights": "none"}), size)
    names = {layer.name for layer in source.model.layers}
    if not names >= {"backbone", "logits"}:
        raise UserError(
            f"the weights in {model.place}.weights are of a network that Fovea did not build; "
            f"choose another file. Received: the layers {', '.join(sorted(names))}"
        )
    backbone = source.backbone
    _check_same_architecture(expected, backbone, model, source)
    if size != source.size:
        expected.set_weights(backbone.get_weights())
        backbone = expected
    backbone.trainable = True  # `source` may have frozen layers.
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
    network = keras.Model(images, _softmax(logits), name=model.backbone)
    return Classifier(network, tuple(class_names), size, resize, started_from)


def add_logit_adjustment(classifier: Classifier, shift: NDArray[np.float32]) -> Classifier:
    """Return the classifier with a network that adds `shift` to the logits (Menon et al., 2021).

    The layer `logit_adjustment` is Keras' own, and its values are no weights, as in
    `add_temperature`. Call it before `add_temperature`. shift: float32 [num_classes], all finite.
    """
    import keras

    network, logits = classifier.model, classifier.model.get_layer("logits").output
    add = keras.layers.Rescaling(1.0, shift.tolist(), name="logit_adjustment", dtype="float32")
    adjusted = keras.Model(network.input, _softmax(add(logits)), name=network.name)
    return replace(classifier, model=adjusted)


def add_temperature(classifier: Classifier, temperature: float) -> Classifier:
    """Return the classifier with a network that divides the logits by a temperature.

    The layer `temperature` is Keras' own, so every Keras can load the file. Its value is not a
    weight, so no training changes it. All other layers are shared with `classifier`, and have the
    same weights. temperature: a finite number above 0.
    """
    import keras

    network = classifier.model
    adjusted = "logit_adjustment" in {layer.name for layer in network.layers}
    logits = network.get_layer("logit_adjustment" if adjusted else "logits").output
    divide = keras.layers.Rescaling(1 / temperature, name="temperature", dtype="float32")
    calibrated = keras.Model(network.input, _softmax(divide(logits)), name=network.name)
    return replace(classifier, model=calibrated)


def _softmax(logits: Any) -> Any:
    import keras

    return keras.layers.Softmax(name="probabilities", dtype="float32")(logits)


def _check_same_architecture(
    expected: Any, backbone: Any, model: Model, source: Classifier
) -> None:
    """Raise UserError if `backbone` and `expected` have different architectures.

    expected: the backbone that `model` names, a keras.Model. backbone: the backbone of `source`.
    The shapes of all weights must be equal. If the image sizes differ, the caller copies the
    weights of `backbone` into `expected`. Layers without weights are not copied. So in this case
    the types of all layers must also be equal. For example, Keras adds a layer without weights,
    Rescaling, to an EfficientNet with ImageNet weights, but not to one with random weights.
    """
    networks = (expected, backbone)
    shapes = [[weight.shape for weight in network.get_weights()] for network in networks]
    kinds = [[type(layer) for layer in leaf_layers(network)] for network in networks]
    if shapes[0] != shapes[1] or (source.size != expected.input_shape[1] and kinds[0] != kinds[1]):
        raise UserError(
            f"the weights in {model.place}.weights were trained with another backbone, width or "
            "size; write the values of that training into params.yaml. "
            f"Received: weights of {source.model.name} with "
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
    """Yield the layers inside `layer` that contain no other layers, from input to output.

    layer: a Keras layer or a keras.Model. If it contains no other layers, `layer` itself is
    yielded.
    """
    inner = getattr(layer, "layers", None)
    if inner is None:
        yield layer
    else:
        for part in inner:
            yield from leaf_layers(part)


def predict(classifier: Classifier, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the probabilities of images: uint8 [N, size, size, 3] → float32 [N, num_classes]."""
    return outputs(classifier.model, images)


def outputs(model: Any, inputs: NDArray[Any]) -> NDArray[np.float32]:
    """Compute the outputs of a keras.Model batch by batch, and return them: float32 [N, K].

    model: a keras.Model whose outputs are vectors of length K. inputs: an array [N, …] of the
    inputs of the model.
    """
    compute = model.predict_on_batch if machine_count() == 1 else local_outputs(model)
    parts = [
        _padded_outputs(compute, np.asarray(inputs[start : start + PREDICTION_BATCH]))
        for start in range(0, len(inputs), PREDICTION_BATCH)
    ]
    return np.concatenate(parts) if parts else np.empty((0, model.output_shape[-1]), np.float32)


def _padded_outputs(compute: Callable[[Any], Any], batch: NDArray[Any]) -> NDArray[np.float32]:
    """Return the outputs of a batch of at most PREDICTION_BATCH inputs.

    The last batch may be shorter than the other batches. Keras would compile the network again for
    the new length. So the batch is padded with zeros, and the outputs of the zeros are cut off.
    """
    missing = PREDICTION_BATCH - len(batch)
    filled = np.pad(batch, [(0, missing)] + [(0, 0)] * (batch.ndim - 1))
    result: NDArray[np.float32] = np.asarray(compute(filled))[: len(batch)]
    return result
