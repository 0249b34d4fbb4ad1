"""Section `model` of params.yaml → the layers of its network, with their sizes and their work.

The multiply-adds are those of convolutions and dense layers, as in papers: a normalisation, an
activation and a pooling count 0. A layer with a kernel does one multiply-add for each number of the
kernel, at each position of its output.

The receptive field is the side of the square of pixels that can change a value (Araujo et al.,
2019): a layer with a kernel of k pixels adds (k - 1) times the distance of its inputs in pixels.
After a pooling over the complete map it is the whole image. Some networks also have such a pooling
inside of their blocks, which weights the maps (squeeze and excitation); it is not followed.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

from components.model.backend import load_keras
from components.model.classifier import build_classifier
from components.model.head import head_layers
from components.params.model import Model
from components.training.blocks import block_names

HEAD = "head"


@dataclass(frozen=True)
class Layer:
    """A layer, or several layers that are shown as one.

    names: the names of the layers, from input to output. shape: the shape of the output, without
    the axis of the images. parameters: the number of weights. multiply_adds: for one image.
    field: the receptive field in pixels; None for the whole image. block: the name of the block to
    which the layers belong. numbers: the numbers of the blocks, counted from the output, as
    `last_blocks` counts them; the head has none.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    field: int | None
    block: str = HEAD
    numbers: tuple[int, ...] = ()


class Field(NamedTuple):
    """The receptive field of a value, and the distance of two neighbours, in pixels."""

    side: int
    distance: int


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
            layers = list(_layers(classifier.model, [Field(1, 1)], {}))
            return _with_blocks(layers, head_layers(classifier.model)[0].name)

    # In a thread of its own: Keras keeps a list of weights without values for each thread, and
    # would create the weights of this list later.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(build).result()


def _layers(
    network: Any, inputs: Sequence[Field | None], fields: dict[int, Field | None]
) -> Iterator[Layer]:
    """Yield the layers of a network, also those of the networks inside of it.

    inputs: the receptive fields of the inputs. fields: the id of a Keras tensor → its receptive
    field; it is filled here.
    """
    import keras

    for tensor, field in zip(network.inputs, inputs, strict=True):
        fields[id(tensor)] = field
    for operation in getattr(network, "operations", network.layers):
        if isinstance(operation, keras.layers.InputLayer):
            continue
        # For a network inside of another, its own `input` is not the tensor that it gets.
        given = keras.tree.flatten(keras.Operation.input.fget(operation))
        made = keras.tree.flatten(keras.Operation.output.fget(operation))
        known = [fields[id(tensor)] for tensor in given if id(tensor) in fields]
        if isinstance(operation, keras.Model):
            yield from _layers(operation, known, fields)
            field = fields[id(operation.outputs[0])]
        else:
            field = _field(operation, known)
            yield _layer(operation, made[0].shape[1:], field)
        fields.update((id(tensor), field) for tensor in made)


def _layer(operation: Any, shape: tuple[int, ...], field: Field | None) -> Layer:
    weights = getattr(operation, "weights", [])
    kernels = [math.prod(weight.shape) for weight in weights if weight.name.endswith("kernel")]
    return Layer(
        names=(operation.name,),
        shape=shape,
        parameters=sum(math.prod(weight.shape) for weight in weights),
        multiply_adds=math.prod(shape[:-1]) * sum(kernels),
        field=field.side if field else None,
    )


def _field(operation: Any, inputs: Iterable[Field | None]) -> Field | None:
    known = [field for field in inputs if field]
    if type(operation).__name__.startswith("Global") or not known:
        return None
    widest = max(known)
    kernel: Any = getattr(operation, "kernel_size", None) or getattr(operation, "pool_size", (1, 1))
    step = getattr(operation, "strides", (1, 1))
    spread = getattr(operation, "dilation_rate", (1, 1))
    side = widest.side + (kernel[0] - 1) * spread[0] * widest.distance
    return Field(side, widest.distance * step[0])


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
    return replace(
        parts[-1],
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
