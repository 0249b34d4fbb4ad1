"""The moving average of the weights (EMA) → the network with it, to be measured and kept.

The optimizer updates the average after each step, see optimizers.py. Training goes on from the
weights themselves, which the average never changes. After each epoch, the average is put into the
network for as long as val is measured and the best weights are kept.

Averaged weights need other statistics in the layers of batch normalisation. If these layers are
trained, their statistics are computed again, from training batches (Izmailov et al., 2018, section
3.2). If they are frozen, as with a pretrained backbone, their statistics do not change at all.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from components.model.classifier import leaf_layers
from components.training.batches import Stream
from components.training.variables import assign, read_values

BATCHES = 16  # from which the statistics are computed again

Refresh = Callable[[], None]  # a function that computes the statistics of a network again


@contextmanager
def averaged(optimizer: Any, model: Any, refresh: Refresh) -> Iterator[None]:
    """Put the average of the weights into the network until the `with` statement ends.

    optimizer: the optimizer of the phase; if it keeps no average, nothing happens. model: the
    keras.Model that is trained. refresh: see `refresh_statistics`.
    """
    if not optimizer.averages:
        yield
        return
    kept = read_values(model.variables)
    assign(model.trainable_variables, read_values(optimizer.averages))
    refresh()
    try:
        yield
    finally:
        assign(model.variables, kept)


def refresh_statistics(model: Any, stream: Stream, steps: int) -> None:
    """Compute the statistics of all trained layers of batch normalisation again.

    They become the means over the first training batches, at most BATCHES of them. Frozen layers
    stay as they are; if there are only such layers, nothing is computed.
    model: a keras.Model. stream: its training batches. steps: the number of batches in an epoch.
    """
    layers = [
        layer
        for layer in leaf_layers(model)
        if type(layer).__name__ == "BatchNormalization" and layer.trainable
    ]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for number in range(min(BATCHES, steps)):
        for layer in layers:
            layer.momentum = number / (number + 1)  # the mean of the batches until now
        model(stream.batch(number)[0], training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
