"""Section `model` of params.yaml → a classifier, which maps uint8 pixels to probabilities.

The network of a classifier has two parts: the backbone maps pixels to features, and the head maps
features to logits; the softmax makes probabilities of them. After training, layers are added before
the softmax, and each is fitted on what those before it give:

    logits → mean over views → logit adjustment → ÷ temperature → softmax

A classifier also stores its class names and the size of its images.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.model.backbones import build_backbone
from components.model.backend import PREDICTION_BATCH
from components.model.devices import local_outputs, machine_count
from components.model.head import add_head, call_in_turn, head_layers
from components.params.ingest import Decode
from components.params.model import Model


@dataclass(frozen=True)
class Classifier:
    """A network, its class names, the size of its images, and the origin of its first weights.

    model: a keras.Model from pixels uint8 [N, size, size, 3] to probabilities float32
        [N, num_classes], with the layers `backbone`, `dropout`, `logits`, `temperature` and
        `probabilities`, and hidden layers, `views` and `logit_adjustment` if they were asked for. A
        model without the layer `temperature` is one that is still trained, or whose file was
        written before there were temperatures.
    class_names: the names of the classes, in the order of the columns of the probabilities.
    size: the side of the square images, in pixels.
    resize: the method by which images of other sizes are resized. `squash`: the aspect ratio
        changes. `crop`: the longer side is cut. `pad`: the shorter side is filled with black.
    started_from: the origin of the weights at the start of training. `none`: the weights were
        random. `imagenet`: the weights were the ImageNet weights. Any other value is the sha256 of
        the model file from which the weights were read.
    sixteen_bit: how images of 16 bits were reduced to 8 bits for training: the value of the param
        `ingest.decode.sixteen_bit`. Whoever decodes images for this classifier needs the same rule.
    decode: all rules by which the images for training were decoded: the section `ingest.decode`
        without its limits of size. None: the file was written before there was this field.
    """

    model: Any
    class_names: tuple[str, ...]
    size: int
    resize: str
    started_from: str
    sixteen_bit: str | Mapping[str, Any] = "high_byte"  # also of files from before this field
    decode: Mapping[str, Any] | None = None

    def decode_rules(self, others: Decode) -> Decode:
        """Return the rules by which the images for this classifier are decoded.

        others: the limits of size, and, if the classifier does not know its rules, the other rules.
        """
        if self.decode is None:
            return others.with_sixteen_bit(self.sixteen_bit)
        return others.with_pixel_rules(self.decode)

    @property
    def backbone(self) -> Any:
        """Return the layer `backbone`, which maps pixels to features."""
        return self.model.get_layer("backbone")

    @property
    def logits_model(self) -> Any:
        """Return a network that maps pixels to logits and shares its weights with `model`.

        They are the logits that the temperature divides, or would divide: those of the layer
        `logits`, averaged over the views and adjusted if the classifier has these layers.
        """
        import keras

        names = {layer.name for layer in self.model.layers}
        last = "temperature" if "temperature" in names else "probabilities"
        return keras.Model(self.model.input, self.model.get_layer(last).input)

    @property
    def head(self) -> Any:
        """Return a network that maps features to logits and shares its weights with `model`."""
        import keras

        features = keras.Input(self.backbone.output.shape[1:])
        return keras.Model(features, call_in_turn(head_layers(self.model), features))


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
    backbone = build_backbone(model, size)
    return build_on(backbone, model, class_names, resize, origin_of(model))


def origin_of(model: Model) -> str:
    """Return `Classifier.started_from` of a backbone that no file has the weights of."""
    return "imagenet" if model.weights == "imagenet" else "none"


def build_on(
    backbone: Any, model: Model, class_names: Sequence[str], resize: str, started_from: str
) -> Classifier:
    """Build a classifier on a backbone, with a new head, whose weights are random."""
    import keras

    size = backbone.input_shape[1]
    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    logits = add_head(backbone(images), model, len(class_names))
    network = keras.Model(images, add_softmax(logits), name=model.backbone)
    return Classifier(network, tuple(class_names), size, resize, started_from)


def add_logit_adjustment(classifier: Classifier, offsets: Sequence[float]) -> Classifier:
    """Return the classifier with a network that adds a number to the logit of each class.

    For the post-hoc logit adjustment (Menon et al., 2021, eq. 9), the numbers are -tau * log prior
    of the class. The layer `logit_adjustment` is Keras' own, so every Keras can load the file. It
    comes after the mean over views and before the temperature. It replaces an earlier adjustment. A
    temperature is left out, because it must be fitted on the adjusted logits. All other layers are
    shared with `classifier`. offsets: finite numbers, one for each class.
    """
    import keras

    names = {layer.name for layer in classifier.model.layers}
    logits = (
        classifier.model.get_layer("logit_adjustment").input
        if "logit_adjustment" in names
        else classifier.logits_model.output
    )
    adjust = keras.layers.Rescaling(
        1.0, [float(offset) for offset in offsets], name="logit_adjustment", dtype="float32"
    )
    return _with_output(classifier, adjust(logits))


def add_temperature(classifier: Classifier, temperature: float) -> Classifier:
    """Return the classifier with a network that divides the logits by a temperature.

    The layer `temperature` is Keras' own, so every Keras can load the file. Its value is not a
    weight, so no training changes it. All other layers are shared with `classifier`, and have the
    same weights. temperature: a finite number above 0.
    """
    import keras

    logits = classifier.logits_model.output
    divide = keras.layers.Rescaling(1 / temperature, name="temperature", dtype="float32")
    return _with_output(classifier, divide(logits))


def _with_output(classifier: Classifier, logits: Any) -> Classifier:
    """Return the classifier with the probabilities of other logits. logits: a Keras tensor."""
    import keras

    network = classifier.model
    changed = keras.Model(network.input, add_softmax(logits), name=network.name)
    return replace(classifier, model=changed)


def add_softmax(logits: Any) -> Any:
    """Add the last layer of a classifier. logits: a Keras tensor float [N, num_classes]."""
    import keras

    return keras.layers.Softmax(name="probabilities", dtype="float32")(logits)


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


def outputs(
    model: Any, inputs: NDArray[Any], compute: Callable[[Any], Any] | None = None
) -> NDArray[np.float32]:
    """Compute the outputs of a keras.Model batch by batch, and return them: float32 [N, K].

    model: a keras.Model whose outputs are vectors of length K. inputs: an array [N, …] of the
    inputs of the model. compute: a function that computes the outputs of a batch, such as that of
    `frozen_network`; None for that of the model.
    """
    if compute is None:
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
