"""A network → its layers, with their sizes and their work.

The multiply-adds are those of convolutions and dense layers, as in papers: a normalisation, an
activation and a pooling count 0. A layer with a kernel does one multiply-add for each number of the
kernel, at each position of its output.

The receptive field is the side of the square of pixels that can change a value (Araujo et al.,
2019): a layer with a kernel of k pixels adds (k - 1) times the distance of its inputs in pixels.
After a pooling over the complete map, so also for every vector of features, it is the whole image.
Some networks also have such a pooling inside of their blocks, which weights the maps (squeeze and
excitation, as in MobileNetV3 and EfficientNet); it is not followed.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

HEAD = "head"
MAPS = 3  # axes of the maps of an image: height, width, channels


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


def layers_in(network: Any) -> list[Layer]:
    """Return the layers of a keras.Model, also those of the networks inside of it, without blocks.

    The weights of the network need no values.
    """
    return list(_layers(network, [Field(1, 1)], {}))


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
            shape = made[0].shape[1:]
            # With `gem`, the exponent is computed from maps, but belongs to the pooled features.
            field = _field(operation, known) if len(shape) == MAPS else None
            yield _layer(operation, shape, field)
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
