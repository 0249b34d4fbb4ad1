"""Two parts of a network, images, classes → the maps between the parts, and gradients of logits."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.model.backend import backend

Floats = NDArray[np.float32]
# Images uint8 [N, S, S, 3], classes int [N] → maps and gradients, both [N, h, w, C].
Compute = Callable[[NDArray[np.uint8], NDArray[np.integer]], tuple[Any, Any]]


def build_gradients(
    front: Any, rest: Any
) -> Callable[[NDArray[np.uint8], NDArray[np.integer]], tuple[Floats, Floats]]:
    """Return a function that computes maps, and the gradients of logits with respect to them.

    front: a keras.Model from images to maps. rest: a keras.Model from the maps to logits [N, C].
    The function takes images uint8 [N, S, S, 3] and classes int [N]. It returns the maps, and the
    gradient of the logit of the class of each image with respect to its maps, both float32
    [N, h, w, channels]. Dropout and batch normalisation work as in a prediction.
    """
    compute = (_with_jax if backend() == "jax" else _with_tensorflow)(front, rest)

    def maps_and_gradients(
        images: NDArray[np.uint8], classes: NDArray[np.integer]
    ) -> tuple[Floats, Floats]:
        maps, gradients = compute(images, classes)
        return np.asarray(maps, np.float32), np.asarray(gradients, np.float32)

    return maps_and_gradients


def _with_tensorflow(front: Any, rest: Any) -> Compute:
    import tensorflow as tf

    def compute(images: NDArray[np.uint8], classes: NDArray[np.integer]) -> tuple[Any, Any]:
        # Without a compilation, which takes longer than the few images of an explanation.
        maps = front(images, training=False)
        with tf.GradientTape() as tape:
            tape.watch(maps)
            logits = tf.gather(rest(maps, training=False), classes, axis=1, batch_dims=1)
        return maps, tape.gradient(logits, maps)

    return compute


def _with_jax(front: Any, rest: Any) -> Compute:
    import jax

    @jax.jit
    def compiled(values: Any, images: Any, classes: Any) -> tuple[Any, Any]:
        of_front, of_rest = values
        maps = front.stateless_call(*of_front, images, training=False)[0]

        def logits_of_classes(maps: Any) -> Any:
            logits = rest.stateless_call(*of_rest, maps, training=False)[0]
            return jax.numpy.take_along_axis(logits, classes[:, None], axis=1).sum()

        return maps, jax.grad(logits_of_classes)(maps)

    def compute(images: NDArray[np.uint8], classes: NDArray[np.integer]) -> tuple[Any, Any]:
        # They are read at each call, because a prediction in between replaces the arrays.
        values = [
            [[variable.value for variable in group] for group in (trained, fixed)]
            for trained, fixed in (
                (network.trainable_variables, network.non_trainable_variables)
                for network in (front, rest)
            )
        ]
        maps, gradients = compiled(values, images, classes)
        return maps, gradients

    return compute
