"""A network → its layers with maps, found by the graph, and the parts before and behind a layer.

The maps of an image are the outputs of a layer with the axes height, width and channels. Keras
networks contain other networks: a classifier contains its backbone, and a backbone contains a Keras
application. So a layer is searched for in all of them.

The last spatial layer is the last layer with these three properties:

- Its maps have more than one position. (At 32 pixels, the last maps of many backbones have one.)
- A layer with a kernel is before it, or it is one. So the scaled pixels are no maps. A padding is
  no spatial layer: its border is no part of the image.
- All that the network computes from the image passes through it: it is no branch of a block.

Example: pixels → scale → conv → [branch a | branch b] → add → pooling → features. The layer is
`add`. The branches are no candidates, because each of them sees only a part, and after the pooling
there are no positions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.errors import UserError
from components.params.sentences import nearest

MAPS = 4  # axes of maps: images, height, width, channels


@dataclass(frozen=True)
class Split:
    """A network in two parts.

    layer: the name of the layer whose maps are between the parts. front: a keras.Model from the
    inputs of the network to the maps. rest: a keras.Model from the maps to its outputs.
    """

    layer: str
    front: Any
    rest: Any


def split_at_last_maps(network: Any) -> Split:
    """Return a network in two parts: up to its last spatial layer, and behind it.

    network: a keras.Model from images to vectors, such as a backbone. Its weights are shared.
    Raises UserError if it has no spatial layer.
    """
    split = _split(network, kernel=False)
    if split is None:
        raise UserError(
            "Grad-CAM needs a layer with maps (height, width, channels), through which all passes "
            f"that the network computes; explain another model. Received: {network.name}, whose "
            "layers have none"
        )
    return split


def layers_with_maps(network: Any) -> dict[str, tuple[int, int, int]]:
    """Return name → (height, width, channels) of all layers with maps, from input to output."""
    return {
        operation.name: (shape[1], shape[2], shape[3])
        for operation, shape in _operations(network)
        if _is_spatial(shape)
    }


def maps_of_layer(network: Any, name: str) -> Any:
    """Return a keras.Model from the inputs of a network to the maps of a layer.

    Raises UserError if there is no such layer, or if its output is no maps. The message has the
    nearest names.
    """
    known = layers_with_maps(network)
    if name not in known:
        others = {operation.name for operation, _ in _operations(network)} - set(known)
        what = (
            "the output of this layer is no maps (height, width, channels)"
            if name in others
            else "the backbone has no such layer"
        )
        offer = nearest(name, list(known), f"the last ones are {', '.join(list(known)[-3:])}")
        raise UserError(
            f"--layer: {what}; {offer}; `fovea model --layers` lists the layers of params.yaml. "
            f"Received: {name}"
        )
    return _front(network, name)


def _operations(network: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each operation, also those of the networks inside, with the shape of its output."""
    for operation in _computed(network):
        if _is_network(operation):
            yield from _operations(operation)
        else:
            yield operation, _output(operation).shape


def _front(network: Any, name: str) -> Any:
    """Return a keras.Model from the inputs of a network to the output of a layer inside."""
    import keras

    for operation in _computed(network):
        if operation.name == name and not _is_network(operation):
            return keras.Model(network.inputs[0], _output(operation))
        if _is_network(operation) and name in {each.name for each, _ in _operations(operation)}:
            before = keras.Model(network.inputs[0], _inputs(operation))
            return _chain(before, _front(operation, name))
    raise KeyError(name)


def _split(network: Any, *, kernel: bool) -> Split | None:
    """Return the split at the last spatial layer; None if there is none.

    kernel: whether a layer with a kernel is before this network.
    """
    import keras

    operations = _computed(network)
    whole = _passed_by_all(network, operations)
    kernels = [_has_kernel(operation) for operation in operations]
    for row in reversed(range(len(operations))):
        if not whole[row]:
            continue
        operation, tensor = operations[row], _output(operations[row])
        before, here = kernel or any(kernels[:row]), kernel or any(kernels[: row + 1])
        padding = isinstance(operation, keras.layers.ZeroPadding2D)
        if here and _is_spatial(tensor.shape) and not padding:
            rest = keras.Model(tensor, network.outputs[0])
            return Split(_last_name(operation), keras.Model(network.inputs[0], tensor), rest)
        if _is_network(operation) and (inner := _split(operation, kernel=before)):
            first = keras.Model(network.inputs[0], _inputs(operation))
            rest = inner.rest
            if tensor is not network.outputs[0]:
                rest = _chain(rest, keras.Model(tensor, network.outputs[0]))
            return Split(inner.layer, _chain(first, inner.front), rest)
    return None


def _passed_by_all(network: Any, operations: list[Any]) -> list[bool]:
    """Return, for each operation, whether its output is all that later operations need.

    The operations are in an order in which they can be computed. So this is true if, of all that
    was computed up to an operation, only its output is used later.
    """
    last_use = {id(tensor): len(operations) for tensor in network.outputs}
    for row in reversed(range(len(operations))):
        for tensor in _inputs(operations[row]):
            last_use.setdefault(id(tensor), row)
    made = {id(tensor): -1 for tensor in network.inputs}
    made |= {id(_output(operation)): row for row, operation in enumerate(operations)}
    spans = [(start, last_use.get(tensor, start)) for tensor, start in made.items()]
    return [
        sum(start <= row < end for start, end in spans) == 1
        and last_use.get(id(_output(operation)), row) > row
        for row, operation in enumerate(operations)
    ]


def _chain(first: Any, second: Any) -> Any:
    """Return a keras.Model that computes one network after another."""
    import keras

    return keras.Model(first.inputs[0], second(first.outputs[0]))


def _computed(network: Any) -> list[Any]:
    """Return the operations of a network in the order of the computation, without its inputs."""
    import keras

    operations = getattr(network, "operations", network.layers)
    return [each for each in operations if not isinstance(each, keras.layers.InputLayer)]


def _inputs(operation: Any) -> list[Any]:
    """Return what an operation gets. For a network inside of another, `input` is another tensor."""
    import keras

    return list(keras.tree.flatten(keras.Operation.input.fget(operation)))


def _output(operation: Any) -> Any:
    import keras

    return keras.tree.flatten(keras.Operation.output.fget(operation))[0]


def _is_network(operation: Any) -> bool:
    import keras

    return isinstance(operation, keras.Model)


def _is_spatial(shape: tuple[int | None, ...]) -> bool:
    return len(shape) == MAPS and (shape[1] or 0) * (shape[2] or 0) > 1


def _has_kernel(operation: Any) -> bool:
    return any(weight.name.endswith("kernel") for weight in getattr(operation, "weights", []))


def _last_name(operation: Any) -> str:
    """Return the name of the layer that computes the output of an operation."""
    while _is_network(operation):
        operation = _computed(operation)[-1]
    return str(operation.name)
