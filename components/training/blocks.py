"""A backbone → its blocks, from input to output: what is unfrozen and slowed down as a whole.

A block is the unit of which the paper of an architecture speaks: a residual block of a ResNet, an
inverted residual block of a MobileNet, a dense layer of a DenseNet, a module of an Inception
network, a cell of a NASNet. Keras writes the block into the names of its layers. A layer whose name
has no block, such as the convolution at the end, belongs to the block before it. The layers before
the first block are a block of their own, the stem.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

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
    found: dict[str, list[Any]] = {}
    for layer, name in zip(layers, block_names([layer.name for layer in layers]), strict=True):
        if layer.weights:
            found.setdefault(name, []).append(layer)
    return list(found.values())


def block_names(layers: Sequence[str]) -> list[str]:
    """Return the name of the block of each layer, also of a layer without weights.

    layers: the names of the layers of a backbone, from input to output.

    >>> block_names(["conv", "block1_conv", "block1_relu", "block2_conv", "last_relu"])
    ['stem', 'block1', 'block1', 'block2', 'block2']
    >>> block_names(["conv2d", "mixed0", "conv2d_1", "mixed1", "last_relu"])
    ['mixed0', 'mixed0', 'mixed1', 'mixed1', 'mixed1']
    """
    ends = [place for place, layer in enumerate(layers) if ENDS.fullmatch(layer)]
    if ends:
        # What is after the last end belongs to the block before it.
        places = np.searchsorted(ends, range(len(layers))).clip(max=len(ends) - 1)
        return [layers[ends[place]] for place in places]
    names = [STEM]
    for layer in layers:
        match = NAMES.search(layer)
        name = next(filter(None, match.groups())) if match else names[-1]
        names.append(f"block_{name}" if name.isdigit() else name)
    return names[1:]


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
