"""Features → logits: the hidden layers and the last layer of a classifier."""

from typing import Any

from components.params.model import Model

# The mean and the variance of a hidden layer move by a tenth in a step, as in `compact`. With the
# 0.99 of Keras they would need hundreds of steps, and a small data set has a dozen in an epoch.
MOMENTUM = 0.9


def add_head(features: Any, model: Model, num_classes: int) -> Any:
    """Add the layers of the head, with random weights.

    A hidden layer is a dropout, a dense layer, a batch normalisation if asked for, and a ReLU. The
    last layers are `dropout` and `logits`. The penalties `l1` and `l2` are on all kernels.
    features: a Keras tensor float32 [N, D]. model: the section `model` of params.yaml.
    Returns the logits, a Keras tensor float32 [N, num_classes].
    """
    from keras import layers, regularizers

    def penalty() -> Any:
        return regularizers.L1L2(model.l1, model.l2) if model.l1 or model.l2 else None

    hidden = features
    for number, units in enumerate(model.hidden, start=1):
        name = f"hidden{number}"
        hidden = layers.Dropout(model.dropout, name=f"{name}_dropout")(hidden)
        hidden = layers.Dense(
            units, use_bias=not model.batch_norm, kernel_regularizer=penalty(), name=name
        )(hidden)
        if model.batch_norm:
            hidden = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")(hidden)
        hidden = layers.ReLU(name=f"{name}_relu")(hidden)
    hidden = layers.Dropout(model.dropout, name="dropout")(hidden)
    return layers.Dense(num_classes, kernel_regularizer=penalty(), name="logits")(hidden)


def head_layers(model: Any) -> list[Any]:
    """Return the layers of the head, from the features to the logits, which follow each other.

    model: the keras.Model of a classifier, see `Classifier`.
    """
    names = [layer.name for layer in model.layers]
    return list(model.layers[names.index("backbone") + 1 : names.index("logits") + 1])


def call_in_turn(layers: list[Any], inputs: Any) -> Any:
    """Call layers one after the other, and return the Keras tensor of the last one."""
    for layer in layers:
        inputs = layer(inputs)
    return inputs
