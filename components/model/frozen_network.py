"""A network that is not trained any more → a function that computes its outputs faster.

TensorFlow can add batch normalisation to the convolution before it, and compute both at once, but
only if the weights are constants. The weights of a Keras model are variables. Measured with two
cores: 1.2 to 1.7 times the images per second, most for MobileNetV2.
"""

from collections.abc import Callable
from typing import Any

from components.model.backend import backend


def frozen_network(model: Any) -> Callable[[Any], Any] | None:
    """Return a function from a batch to the outputs of the model; None on another backend.

    The outputs are those of the model, but for rounding. The function keeps the weights that the
    model has now. It compiles once for each shape of a batch, which takes some seconds.
    model: a keras.Model. JAX compiles the model as a whole anyway, so there it needs no function.
    """
    if backend() != "tensorflow":
        return None
    import keras
    import tensorflow as tf

    groups = (model.trainable_variables, model.non_trainable_variables)
    weights = [[keras.ops.convert_to_numpy(variable) for variable in group] for group in groups]

    def compute(batch: Any) -> Any:
        constants = ([tf.constant(weight) for weight in group] for group in weights)
        return model.stateless_call(*constants, batch, training=False)[0]

    compiled: Callable[[Any], Any] = tf.function(compute)
    return compiled


def compiled_once(frozen: Callable[[Any], Any], size: int) -> Callable[[Any], Any]:
    """Return a function of batches with any number of images, which is compiled once.

    frozen: what `frozen_network` has returned, for images uint8 [N, size, size, 3]. Its outputs do
    not change. On a CPU this is as fast as a function for each N, and no batch must be filled up.
    On a GPU it is slower: cuDNN looks for its fastest algorithm again for each N.
    """
    import tensorflow as tf

    shape = tf.TensorSpec((None, size, size, 3), tf.uint8)
    traced = frozen.get_concrete_function(shape)  # type: ignore[attr-defined]
    return lambda batch: traced(tf.constant(batch))
