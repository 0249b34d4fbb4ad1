"""A trained classifier, section `model` → a new classifier that starts with its weights."""

import logging
from collections.abc import Sequence
from typing import Any

from components.errors import UserError
from components.model.backbones import build_backbone
from components.model.classifier import Classifier, build_on, leaf_layers
from components.model.head import head_layers
from components.model.pooling import EXPONENT, pooling_of
from components.params.model import Model

log = logging.getLogger(__name__)


def warm_start_classifier(
    model: Model,
    class_names: Sequence[str],
    size: int,
    resize: str,
    source: Classifier,
    source_id: str,
) -> Classifier:
    """Build a classifier that starts with the weights of the classifier `source`.

    The backbone gets the weights of the backbone of `source`. If its pooling is another one, the
    features mean something else, so the head is random. It is random, too, if its hidden layers
    are others than those of `source`; a message says so. Otherwise the hidden layers are copied.
    The last layer has a column of weights for each class. If `source` has a class of the same name,
    the column is copied, and otherwise it is random. The views, the logit adjustment and the
    temperature of `source` are not taken over.

    model: the section `model` of params.yaml. class_names: the names of the classes. size: the side
    of the square images, in pixels. resize: the method by which the images were resized. source: a
    trained classifier. Do not use `source` after this call, because the new classifier may share
    layers with `source`. source_id: the sha256 of the file from which `source` was read.
    Raises UserError if the backbone that `model` names is unknown or does not accept the size or
    width. Also raises UserError if the backbone of `source` and the backbone that `model` names
    have different architectures, for example different widths, or if `source` has no backbone.
    """
    backbone = warm_backbone(model, size, source)
    return warm_head(backbone, model, class_names, resize, source, source_id)


def warm_backbone(model: Model, size: int, source: Classifier) -> Any:
    """Return the backbone of `warm_start_classifier`; it may be that of `source`."""
    names = {layer.name for layer in source.model.layers}
    if not names >= {"backbone", "logits"}:
        raise UserError(
            f"the weights in {model.place}.weights are of a network that Fovea did not build; "
            f"choose another file. Received: the layers {', '.join(sorted(names))}"
        )
    backbone, pooling = source.backbone, pooling_of(source.backbone)
    described = model.model_copy(update={"weights": "none", "pooling": pooling})
    expected = build_backbone(described, size)
    _check_same_architecture(expected, backbone, model, source)
    if pooling != model.pooling:
        described = described.model_copy(update={"pooling": model.pooling})
        backbone = _copy_maps(backbone, build_backbone(described, size))
    elif size != source.size:
        expected.set_weights(backbone.get_weights())
        backbone = expected
    backbone.trainable = True  # `source` may have frozen layers.
    return backbone


def warm_head(
    backbone: Any,
    model: Model,
    class_names: Sequence[str],
    resize: str,
    source: Classifier,
    source_id: str,
) -> Classifier:
    """Return the classifier of `warm_start_classifier`. backbone: from `warm_backbone`."""
    classifier = build_on(backbone, model, class_names, resize, source_id)
    pooling = pooling_of(source.backbone)
    if pooling == model.pooling:
        _copy_head(classifier, source)
    else:
        log.info(
            f"the head starts with random weights, because the weights at the start were trained "
            f"with `pooling: {pooling}`. Received: {model.place}.pooling: {model.pooling}"
        )
    return classifier


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


def _copy_maps(source: Any, backbone: Any) -> Any:
    """Copy all weights from one backbone to another, and return it. Their pooling differs.

    The exponent of the pooling `gem` stays as it is.
    """
    groups = [
        [
            weight
            for layer in leaf_layers(network)
            if layer.name != EXPONENT
            for weight in layer.weights
        ]
        for network in (source, backbone)
    ]
    for old, new in zip(*groups, strict=True):
        new.assign(old)
    return backbone


def _copy_head(classifier: Classifier, source: Classifier) -> None:
    """Copy the head of `source`, with the columns of the classes that both have.

    If the layers between the features and the logits differ, nothing is copied.
    """
    new, old = head_layers(classifier.model), head_layers(source.model)
    kinds = [
        [(type(layer), [weight.shape for weight in layer.weights]) for layer in layers[:-1]]
        for layers in (new, old)
    ]
    if kinds[0] != kinds[1]:
        log.info(
            "the head starts with random weights, because its hidden layers are others than those "
            f"of the weights at the start. Received: the layers {', '.join(_names(new))} instead "
            f"of {', '.join(_names(old))}"
        )
        return
    for mine, theirs in zip(new[:-1], old[:-1], strict=True):
        mine.set_weights(theirs.get_weights())
    logits = new[-1]
    kernel, bias = logits.get_weights()
    known_kernel, known_bias = old[-1].get_weights()
    for column, name in enumerate(classifier.class_names):
        if name in source.class_names:
            known = source.class_names.index(name)
            kernel[:, column], bias[column] = known_kernel[:, known], known_bias[known]
    logits.set_weights([kernel, bias])


def _names(layers: Sequence[Any]) -> list[str]:
    return [layer.name for layer in layers]
