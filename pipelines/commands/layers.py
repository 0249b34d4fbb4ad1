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
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from components.model.backend import load_keras
from components.model.classifier import build_classifier
from components.params.model import Model

# The names of the blocks of Keras' applications and of `compact`.
BLOCK = re.compile(
    r"stage_?\d+_block_?\d+|downsampling_block_\d+|conv\d+_block\d+|expanded_conv(?:_\d+)?"
    r"|block_?\d+[a-z]?(?:_\d+)?(?=_|$)|mixed_?\w+|pool\d+|hidden\d+"
)
CELL = re.compile(r"(?:normal|reduction|adjust)\w*?_(stem_\d|reduce_\d+|\d+)$")  # of a NASNet
HEAD = ("dropout", "logits", "probabilities")
PAIR = re.compile(r"conv_(?:dw|pw|pad)_(\d+)")  # of a MobileNet


@dataclass(frozen=True)
class Layer:
    """A layer, or several layers that are shown as one.

    names: the names of the layers, from input to output. shape: the shape of the output, without
    the axis of the images. parameters: the number of weights. multiply_adds: for one image.
    field: the receptive field in pixels; None for the whole image. numbered: True if the layer has
    no name of its own.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    field: int | None
    numbered: bool = False


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
            return list(_layers(classifier.model, [Field(1, 1)], {}))

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
        numbered=_is_numbered(operation),
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


def blocks_of(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers with one entry for each block. The names of the layers say their block."""
    blocks: dict[str, list[Layer]] = {}
    for layer, block in zip(layers, _block_names(layers), strict=True):
        blocks.setdefault(block, []).append(layer)
    return [_join(name, parts) for name, parts in blocks.items()]


def _join(name: str, parts: Sequence[Layer]) -> Layer:
    return Layer(
        names=(name,),
        shape=parts[-1].shape,
        parameters=sum(part.parameters for part in parts),
        multiply_adds=sum(part.multiply_adds for part in parts),
        field=parts[-1].field,
    )


def repeats_of(blocks: Sequence[Layer]) -> list[Layer]:
    """Return the blocks with one entry for equal blocks that follow each other.

    The parameters and multiply-adds of an entry are those of all its blocks together.
    """

    def size(block: Layer) -> tuple[Any, ...]:
        return block.shape, block.parameters, block.multiply_adds

    merged = []
    for (shape, parameters, multiply_adds), group in groupby(blocks, size):
        equal = list(group)
        names = tuple(name for block in equal for name in block.names)
        count = len(equal)
        merged.append(
            Layer(names, shape, count * parameters, count * multiply_adds, equal[-1].field)
        )
    return merged


def _block_names(layers: Sequence[Layer]) -> list[str]:
    """Return the name of the block of each layer.

    A layer without a name of its own, such as conv2d_12, belongs to the block of the next layer
    that has one. Layers outside of blocks that follow each other are one block. It has the name of
    the first of them that has a name of its own and parameters.
    """
    names: list[str] = []
    following = ""
    for layer in reversed(layers):
        if not layer.numbered:
            following = _block_name(layer.names[0])
        names.append(following)
    names.reverse()
    start = 0  # of the layers outside of blocks that follow each other
    for row, name in enumerate(names):
        if name:
            start = row + 1
        else:
            end = next((at for at in range(row, len(names)) if names[at]), len(names))
            run = [layer for layer in layers[start:end] if not layer.numbered] or layers[start:end]
            names[row] = next((layer for layer in run if layer.parameters), run[0]).names[0]
    return names


def _block_name(name: str) -> str:
    """Return the block that the name of a layer names; empty if it names none."""
    if name in HEAD:
        return "head"
    if pair := PAIR.search(name):
        return f"block_{pair[1]}"
    if cell := CELL.search(name):
        return f"cell_{cell[1]}"
    block = BLOCK.search(name)
    return block[0] if block else ""


def _is_numbered(operation: Any) -> bool:
    """Return True if Keras made the name from the type of the layer, as batch_normalization_3."""
    made = re.sub(r"_\d+$", "", operation.name).replace("_", "")
    return bool(made == type(operation).__name__.lower())
