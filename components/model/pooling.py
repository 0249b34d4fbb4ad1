"""The maps of a backbone → features, one vector for each image."""

from typing import Any

from components.params.model import Pooling

EXPONENT = "exponent"
# The layers that are added here. They compute in float32 even if the backbone does not.
POOLING_LAYERS = ("pool", "pool_avg", "pool_max", EXPONENT)
FIRST_EXPONENT = 3.0  # with which the paper starts
SMALLEST = 1e-6  # smaller values, also negative ones, count as this value, as in the paper


def add_pooling(maps: Any, pooling: Pooling) -> Any:
    """Add the layers that make features of maps.

    maps: a Keras tensor float [N, h, w, C]. pooling: see `Model`.
    Returns a Keras tensor float32 [N, D]. With `avg_max`, D is 2 * C: first the means, then the
    maxima. Otherwise D is C.

    `gem` is the generalised mean (Radenović et al., 2018): (mean over the positions of x^p)^(1/p),
    with one exponent p for all maps. With p = 1 it is the mean, and with growing p it approaches
    the maximum. The exponent is a weight of the backbone. It starts at 3, stays the same in the
    phase `head`, whose features are stored, and is learned in the phase `finetune`. It is the
    kernel of a dense layer with the constant input 1, so that all layers are Keras' own, and every
    Keras can load the file.
    """
    from keras import initializers, layers, ops

    if pooling == "avg":
        return layers.GlobalAveragePooling2D(name="pool")(maps)
    if pooling == "max":
        return layers.GlobalMaxPooling2D(name="pool")(maps)
    if pooling == "avg_max":
        mean = layers.GlobalAveragePooling2D(name="pool_avg")(maps)
        highest = layers.GlobalMaxPooling2D(name="pool_max")(maps)
        return layers.Concatenate(name="pool")([mean, highest])
    one = ops.ones_like(maps[:, :1, :1, :1])
    start = initializers.Constant(FIRST_EXPONENT)
    exponent = layers.Dense(1, use_bias=False, kernel_initializer=start, name=EXPONENT)(one)
    powers = ops.power(ops.maximum(maps, SMALLEST), exponent)
    mean = layers.GlobalAveragePooling2D(name="pool")(powers)
    return ops.power(mean, 1.0 / exponent[:, 0, 0])


def pooling_of(backbone: Any) -> Pooling:
    """Return the pooling with which a backbone was built.

    backbone: a keras.Model that `build_backbone` returned, or that was read from a file.
    """
    names = {layer.name for layer in backbone.layers}
    if EXPONENT in names:
        return "gem"
    if "pool_max" in names:
        return "avg_max"
    # The pooling is the last layer, also of the network inside of the backbone. In a ConvNeXt, it
    # is the last but one. Layers for the mean are also in the middle of some networks.
    last = backbone.layers[-1]
    kinds = [type(layer).__name__ for layer in getattr(last, "layers", backbone.layers)[-2:]]
    return "max" if "GlobalMaxPooling2D" in kinds else "avg"
