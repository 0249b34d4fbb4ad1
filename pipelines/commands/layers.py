"""Section `model` of params.yaml → the layers of its network, by blocks of the backbone."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from typing import Any

from components.model.backend import load_keras
from components.model.classifier import build_classifier
from components.model.head import head_layers
from components.params.model import Model
from components.search.layers import MAPS, Layer, layers_in
from components.training.blocks import block_names


def layers_of(model: Model, size: int, num_classes: int) -> list[Layer]:
    """Return all layers of the network, from input to output. No weight gets a value.

    model: the section `model` of params.yaml. size: the side of the images, in pixels. num_classes:
    the number of classes. Raises UserError if the backbone cannot be built.
    """
    load_keras()
    described = model.model_copy(update={"weights": "none"})

    def build() -> list[Layer]:
        import keras

        with keras.StatelessScope(initialize_variables=False):
            names = [str(number) for number in range(num_classes)]
            classifier = build_classifier(described, names, size, "squash")
            return _with_blocks(layers_in(classifier.model), head_layers(classifier.model)[0].name)

    # In a thread of its own: Keras keeps a list of weights without values for each thread, and
    # would create the weights of this list later.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(build).result()


def _with_blocks(layers: Sequence[Layer], head: str) -> list[Layer]:
    """Return the layers with the names and the numbers of their blocks.

    head: the name of the first layer of the head. The last pooling counts as a part of the head, so
    that the last block has the shape of its maps.
    """
    end = next(row for row, layer in enumerate(layers) if layer.names == (head,))
    while layers[end - 1].field is None and not layers[end - 1].parameters:
        end -= 1
    body, rest = layers[:end], layers[end:]
    names = block_names([layer.names[0] for layer in body])
    # As for `last_blocks`, only a block with weights counts. If nothing before the first block has
    # weights, it belongs to this block.
    counted = [name for name, layer in zip(names, body, strict=True) if layer.parameters]
    order = list(dict.fromkeys(counted))
    names = [name if name in order else order[0] for name in names]
    return [
        replace(layer, block=name, numbers=(len(order) - order.index(name),))
        for name, layer in zip(names, body, strict=True)
    ] + list(rest)


def blocks_of(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers with one entry for each block, and one for the head."""
    blocks: dict[str, list[Layer]] = {}
    for layer in layers:
        blocks.setdefault(layer.block, []).append(layer)
    return [_join(name, parts) for name, parts in blocks.items()]


def _join(name: str, parts: Sequence[Layer]) -> Layer:
    """Return one entry for the layers of a block, with the shape of its last maps.

    A block may end with layers behind the pooling: in a ConvNeXt they have weights of the backbone.
    """
    maps = [part for part in parts if len(part.shape) == MAPS]
    return replace(
        (maps or parts)[-1],
        names=(name,),
        parameters=sum(part.parameters for part in parts),
        multiply_adds=sum(part.multiply_adds for part in parts),
    )


def repeats_of(blocks: Sequence[Layer]) -> list[Layer]:
    """Return the blocks with one entry for equal blocks that follow each other.

    The parameters and multiply-adds of an entry are those of all its blocks together.
    """

    def size(block: Layer) -> tuple[Any, ...]:
        return block.shape, block.parameters, block.multiply_adds

    merged = []
    for _, group in groupby(blocks, size):
        equal = list(group)
        merged.append(
            replace(
                equal[-1],
                names=tuple(name for block in equal for name in block.names),
                parameters=sum(block.parameters for block in equal),
                multiply_adds=sum(block.multiply_adds for block in equal),
                numbers=tuple(number for block in equal for number in block.numbers),
            )
        )
    return merged
