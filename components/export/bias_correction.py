"""Classifier, images → the classifier with biases that make up for kernels of 8 bits.

An int8 export rounds every weight of a convolution. The errors of the weights of one output channel
do not cancel, because most inputs of a layer come from a ReLU and so are never negative. The mean
of the channel is shifted, and the shifts of 50 layers add up. They are predictable (Nagel et al.,
2019, section 4.2):

    shift = mean over images and positions of (convolution with the errors of the weights)

So the shift is subtracted from the bias of the layer before the conversion, or added to the mean of
the batch normalisation that follows. Example: a channel has the weights 1 and 0.007. Its steps are
1/127, so 0.007 becomes 0.0079. If the mean of the second input is 5, the channel is too large by
0.0044, and its bias becomes smaller by 0.0044.

A layer without a bias and without a batch normalisation behind it is left as it is.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from components.export.exported import Floats, Images
from components.model.classifier import Classifier, leaf_layers

LARGEST = 127  # the largest magnitude of a weight of 8 bits; its range is symmetric
BATCH = 32  # images that the network computes at once


@contextmanager
def corrected_biases(classifier: Classifier, images: Images) -> Iterator[None]:
    """Correct the biases of a classifier for a `with` statement; then they are as before.

    images: uint8 [N, size, size, 3], N > 0, such as those that calibrate the export.
    """
    import keras

    network = classifier.model
    layers = list(leaf_layers(network))
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    convolutions = [layer for layer in layers if isinstance(layer, kinds)]
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    shifts = _mean_shifts(network, convolutions, images)
    exact = network.get_weights()
    try:
        for layer, shift in zip(convolutions, shifts, strict=True):
            if layer.use_bias:
                layer.bias.assign_sub(shift)
                continue
            for norm in norms:
                if norm.input is layer.output:
                    norm.moving_mean.assign_add(shift)
        yield
    finally:
        network.set_weights(exact)


def rounding_errors(kernel: Floats, depthwise: bool) -> Floats:
    """Return what is added to each weight of a kernel if it has 8 bits: float32 [h, w, c, o].

    kernel: float32 [h, w, c, o]. Each output channel has steps of its own. depthwise: whether each
    input channel has o output channels of its own.

    >>> rounding_errors(np.array([1.0, 0.007], np.float32).reshape(1, 1, 2, 1), False).ravel()
    array([0.        , 0.00087402], dtype=float32)
    """
    axes = (0, 1) if depthwise else (0, 1, 2)
    largest = np.abs(kernel).max(axis=axes, keepdims=True)
    step = np.where(largest > 0, largest / LARGEST, 1)
    result: Floats = (np.round(kernel / step) * step - kernel).astype(np.float32)
    return result


def _mean_shifts(network: Any, layers: Sequence[Any], images: Images) -> list[Floats]:
    """Return by how much the mean of each output channel grows, float32 [o] for each layer."""
    shifts: list[list[Floats]] = [[] for _ in layers]
    # The layers of a network inside of another one have no tensor in common with the outer one. So
    # they are watched while the network computes.
    watches = [_watched(layer, found) for layer, found in zip(layers, shifts, strict=True)]
    for layer, watch in zip(layers, watches, strict=True):
        layer.call = watch
    try:
        for start in range(0, len(images), BATCH):
            network(images[start : start + BATCH], training=False)
    finally:
        for layer in layers:
            del layer.call
    return [np.concatenate(found).mean(axis=0) for found in shifts]


def _watched(layer: Any, shifts: list[Floats]) -> Callable[..., Any]:
    """Return the method `call` of a layer; it also appends the shifts of its inputs, [N, o]."""
    from keras import layers, ops

    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    convolve = ops.depthwise_conv if depthwise else ops.conv
    errors = rounding_errors(np.asarray(layer.kernel), depthwise)
    call = layer.call

    def watch(inputs: Any) -> Any:
        maps = convolve(
            inputs, errors, layer.strides, layer.padding, layer.data_format, layer.dilation_rate
        )
        shifts.append(np.asarray(maps).mean(axis=(1, 2)))
        return call(inputs)

    return watch
