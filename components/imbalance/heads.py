"""Features of a frozen backbone, a balance plan, a loss → a head, trained on some of the images.

To compare methods, a head is trained some fifty times. `train_classifier` would build and compile
its network each time, which takes longer than the training. Here the network is compiled once for
each loss (and for each training with `smote`, whose examples are new each time), and gets its first
weights again before each training. The loss, the optimizer, the order of the images and the rule of
the best epoch are those of the phase `head`.

Every method gets as many updates of the weights as `none`. Otherwise a strategy that draws more
images per epoch would be better for the longer training alone.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from components.model.classifier import Classifier
from components.params.train import Train
from components.training.batches import Stream
from components.training.best_epoch import BestEpoch
from components.training.compiled_epochs import Epoch, compile_epoch
from components.training.losses import Loss, build_loss
from components.training.measuring import measure_logits
from components.training.optimizers import build_optimizer
from components.training.phases import Phase
from components.training.smote import with_synthetic
from components.training.variables import assign, read_values
from components.training_set.examples import Balance, Examples

Rows = NDArray[np.intp]


class Heads:
    """Trains the head of a classifier again and again, on parts of the same features."""

    def __init__(
        self, classifier: Classifier, pool: Examples, plan: Balance, train: Train, steps: int
    ) -> None:
        """Take over what all trainings have in common.

        classifier: its head is trained; it should have no other use. pool: features float32 [N, D]
        with labels. plan: the plan of the strategy `none` for the whole pool. train: the section
        `train` of params.yaml. steps: the number of batches of an epoch.
        """
        self._head, self._pool, self._plan = classifier.head, pool, plan
        self._train, self._steps = train, steps
        self._first = read_values(self._head.variables)
        self._compiled: dict[str, tuple[Callable[[], None], Epoch, Loss]] = {}

    def fit(self, balance: Balance, loss: str, rows: Rows, val: Rows, seed: int) -> None:
        """Train the head from its first weights, and leave it with the weights of its best epoch.

        balance: the plan for the labels of `rows`, with the weights of the loss. loss: the value
        `train.loss`. rows, val: the rows of the pool to train on, and to find the best epoch with.
        seed: the seed of the order of the images, and of synthetic features.
        """
        examples = self._part(rows)
        if balance.strategy == "smote":
            examples = with_synthetic(examples, balance.targets, 1, seed)
            reset, train_epoch, measured_by = self._compile(loss, examples)
            rows = np.arange(len(examples))
        else:
            if loss not in self._compiled:
                self._compiled[loss] = self._compile(loss, self._pool)
            reset, train_epoch, measured_by = self._compiled[loss]
        reset()
        stream = Stream(examples, balance, self._train.batch_size, seed, None)
        best = BestEpoch(self._head, self._train.early_stopping)
        for epoch in range(self._train.head.epochs):
            steps = range(epoch * self._steps, (epoch + 1) * self._steps)
            drawn = np.stack([stream.rows(step) for step in steps])
            train_epoch(rows[drawn], stream.weights(drawn))
            if best.update(self._measure(val, measured_by) | {"epoch": epoch + 1}):
                break
        best.restore()

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return the logits of rows of the pool, float32 [number of rows, C]."""
        import keras

        logits = self._head(self._pool.inputs[rows], training=False)
        result: NDArray[np.float32] = keras.ops.convert_to_numpy(logits)
        return result

    def _part(self, rows: Rows) -> Examples:
        return Examples(self._pool.inputs[rows], self._pool.labels[rows])

    def _compile(self, loss: str, examples: Examples) -> tuple[Callable[[], None], Epoch, Loss]:
        """Return how to begin again, how to train an epoch on `examples`, and the loss function."""
        train = self._train.model_copy(update={"loss": loss})
        function = build_loss(train, self._plan)
        phase = Phase(
            name="head",
            model=self._head,
            train=examples,
            val=examples,
            epochs=train.head.epochs,
            learning_rate=train.head.learning_rate,
            warmup=0.0,
            policy=None,
            in_memory=True,
        )
        optimizer = build_optimizer(phase, train, self._steps)
        optimizer.build(self._head.trainable_variables)
        first = read_values(optimizer.variables)

        def reset() -> None:
            assign(self._head.variables, self._first)
            assign(optimizer.variables, first)

        return reset, compile_epoch(self._head, optimizer, function, examples), function

    def _measure(self, val: Rows, loss: Loss) -> dict[str, float]:
        return measure_logits(self.logits(val), self._pool.labels[val], loss)
