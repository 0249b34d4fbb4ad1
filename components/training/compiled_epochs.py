"""A small network and examples in memory → epochs of training, each in one compiled call.

A head is so small that Keras needs longer to start a step of training than the step takes. Here
the steps of an epoch are a loop inside of one compiled function, so an epoch of 1,800 examples
takes some hundredths of a second. The weights, the optimizer and the random numbers of dropout are
those of Keras: the result is the same as that of `fit`, but for rounding.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.training.losses import Loss
from components.training_set.examples import Examples

# rows int [steps, B], weights float32 [steps, B] → (mean loss, accuracy) of the epoch
Epoch = Callable[[NDArray[np.intp], NDArray[np.float32]], tuple[float, float]]


def compile_epoch(model: Any, optimizer: Any, loss: Loss, examples: Examples) -> Epoch:
    """Return a function that trains the model for one epoch and returns the mean loss and accuracy.

    The function takes the rows of the examples in each batch, int [steps, B], and the factors of
    their losses, float32 [steps, B]. All calls must have the same shapes.
    model: a keras.Model; its outputs are logits. optimizer: an optimizer that is built for the
    trainable variables of the model. loss: see losses.py. examples: they are copied to the device.
    """
    import keras

    build = {"tensorflow": _tensorflow_epoch, "jax": _jax_epoch}[keras.backend.backend()]
    return build(model, optimizer, loss, examples)


def _tensorflow_epoch(model: Any, optimizer: Any, loss: Loss, examples: Examples) -> Epoch:
    import tensorflow as tf

    inputs, labels = tf.constant(examples.inputs), tf.constant(examples.labels)
    variables = [variable.value for variable in model.trainable_variables]

    def train(rows: Any, weights: Any) -> Any:
        sums = tf.zeros(2)
        for step in tf.range(len(rows)):
            chosen = tf.gather(labels, rows[step])
            with tf.GradientTape() as tape:
                logits = model(tf.gather(inputs, rows[step]), training=True)
                mean = tf.reduce_mean(loss(chosen, logits) * weights[step])
                mean = tf.add_n([mean, *model.losses])  # the penalties of the head, if any
            optimizer.apply(tape.gradient(mean, variables), model.trainable_variables)
            sums += tf.stack([mean, _accuracy(chosen, logits)])
        return sums / len(rows)

    compiled = tf.function(train)

    def epoch(rows: NDArray[np.intp], weights: NDArray[np.float32]) -> tuple[float, float]:
        mean, accuracy = compiled(tf.constant(rows), tf.constant(weights)).numpy().tolist()
        return mean, accuracy

    return epoch


def _jax_epoch(model: Any, optimizer: Any, loss: Loss, examples: Examples) -> Epoch:
    import jax

    # They are arguments, because JAX would copy an array that a function only refers to into its
    # program. The features of many views are gigabytes.
    examples_on_device = jax.device_put((examples.inputs, examples.labels))
    variables = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)

    def train(state: Any, inputs: Any, labels: Any, batches: Any) -> Any:
        def step(state: Any, batch: Any) -> Any:
            weights, rest, slots = state
            rows, factors = batch
            chosen = labels[rows]

            def mean_loss(weights: Any) -> Any:
                logits, after, penalties = model.stateless_call(
                    weights, rest, inputs[rows], training=True, return_losses=True
                )
                mean = (loss(chosen, logits) * factors).mean()
                return sum(penalties, start=mean), (logits, after)

            (mean, (logits, rest)), gradients = jax.value_and_grad(mean_loss, has_aux=True)(weights)
            weights, slots = optimizer.stateless_apply(slots, gradients, weights)
            return [list(weights), list(rest), list(slots)], (mean, _accuracy(chosen, logits))

        return jax.lax.scan(step, state, batches)

    compiled = jax.jit(train)

    def epoch(rows: NDArray[np.intp], weights: NDArray[np.float32]) -> tuple[float, float]:
        state = [[variable.value for variable in group] for group in variables]
        state, (means, accuracies) = compiled(state, *examples_on_device, (rows, weights))
        for group, values in zip(variables, state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        return float(means.mean()), float(accuracies.mean())

    return epoch


def _accuracy(labels: Any, logits: Any) -> Any:
    from keras import ops

    predicted = ops.argmax(logits, axis=-1)
    return ops.mean(ops.cast(ops.equal(predicted, ops.cast(labels, predicted.dtype)), "float32"))
