"""A backbone → its blocks, from input to output: what is unfrozen and slowed down as a whole.

A block is the unit of which the paper of an architecture speaks: a residual block of a ResNet, an
inverted residual block of a MobileNet, a dense layer of a DenseNet, a module of an Inception
network, a cell of a NASNet. Keras writes the block into the names of its layers. A layer whose name
has no block, such as the convolution at the end, belongs to the block before it. The layers before
the first block are a block of their own, the stem.
"""

import re
from typing import Any

from components.model.classifier import leaf_layers
from components.params.train import LastBlocks

# The part of a layer's name that names its block. The first pattern that fits counts.
NAMES = re.compile(
    r"(?:normal|reduction|adjust)_\w*?_((?:stem_|reduce_)?\d+)$"  # NASNet
    r"|(stage_?\d+_block_?\d+)"  # ConvNeXt, compact
    r"|(conv\d+_block\d+)"  # ResNet, DenseNet
    r"|(block_?\d+[a-z]?)"  # MobileNetV2, EfficientNet, Xception, VGG
    r"|(expanded_conv(?:_\d+)?)_"  # MobileNetV3
    r"|conv_(?:dw|pw)_(\d+)"  # MobileNet
)
# Inception networks name only the layer with which a block ends.
ENDS = re.compile(r"mixed\d+|mixed_\d[ab]|block\d+_\d+_ac")
STEM = "stem"


def blocks(backbone: Any) -> list[list[Any]]:
    """Return the layers with weights of each block, from input to output.

    backbone: a keras.Model. Each layer with weights is in exactly one block. A network whose layers
    name no blocks is one block, the stem.
    """
    layers = list(leaf_layers(backbone))
    names = _by_ends(layers) if any(ENDS.fullmatch(layer.name) for layer in layers) else None
    found: dict[str, list[Any]] = {}
    for layer, name in zip(layers, names or _by_names(layers), strict=True):
        if layer.weights:
            found.setdefault(name, []).append(layer)
    return list(found.values())


def freeze(
    backbone: Any, unfreeze: str | LastBlocks, hold_normalization: bool
) -> tuple[tuple[Any, ...], ...]:
    """Make the last blocks of the backbone trainable, and freeze all its other layers.

    backbone: a keras.Model. unfreeze: `none`, `all`, or the number of blocks that become trainable;
    if the backbone has fewer, all do.
    hold_normalization: True if every BatchNormalization layer must be frozen. A frozen layer of
    this type uses the mean and the variance of pretraining, which come from many images. A
    trainable layer would use the mean and the variance of small batches instead.
    Returns the trainable variables of each block that has some, from output to input.
    """
    every = blocks(backbone)
    number = {"none": 0, "all": len(every)}
    count = unfreeze.last_blocks if isinstance(unfreeze, LastBlocks) else number[unfreeze]
    for position, layers in enumerate(reversed(every)):
        for layer in layers:
            hold = hold_normalization and type(layer).__name__ == "BatchNormalization"
            layer.trainable = position < count and not hold
    variables = (
        tuple(variable for layer in layers for variable in layer.trainable_variables)
        for layers in reversed(every)
    )
    return tuple(block for block in variables if block)


def _by_names(layers: list[Any]) -> list[str]:
    names = [STEM]
    for layer in layers:
        match = NAMES.search(layer.name)
        names.append(next(filter(None, match.groups())) if match else names[-1])
    return names[1:]


def _by_ends(layers: list[Any]) -> list[str]:
    names, number = [], 0
    for layer in layers:
        names.append(str(number))
        number += bool(ENDS.fullmatch(layer.name))
    # What is after the last end belongs to the block before it.
    return [name if int(name) < number else str(number - 1) for name in names]
