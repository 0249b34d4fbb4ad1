"""A phase of training → its optimizer, with the learning rate of each step and of each weight.

Keras has one learning rate for all weights. Here the optimizers of Keras are extended by:

- `scales`: a weight can have a learning rate of its own, a share of the common one, and can stay
  as it is until a step. Keras' decoupled weight decay, w * weight_decay * learning rate, is scaled
  in the same way, as for the groups of parameters of other libraries.
- `rate_factor`: a variable by which the rate is multiplied, for the schedule `plateau`.
- `ema`: the moving average of the weights has a bias correction (Kingma and Ba, 2015, section 3).

Whatever changes while training is a variable of the optimizer, so it is in every checkpoint.
"""

import math
from dataclasses import dataclass
from typing import Any

from components.params.train import Train
from components.training.phases import Phase
from components.training.schedules import DROP, build_schedule


@dataclass(frozen=True)
class Scale:
    """The learning rate of a weight.

    factor: its share of the common learning rate. start: the first step in which it is trained.
    """

    factor: float = 1.0
    start: int = 0


def build_optimizer(phase: Phase, train: Train, steps: int) -> Any:
    """Build the optimizer of a phase; `train.optimizer` names it.

    `adamw` is AdamW (Loshchilov and Hutter, 2019), `sgd` gradient descent with momentum, `rmsprop`
    RMSprop with momentum (Tieleman and Hinton, 2012), and `lion` Lion (Chen et al., 2023). For the
    learning rate, see `build_schedule`. There is no weight decay for biases and for the parameters
    of normalisation layers. The weight decay of all of them is decoupled: in each step a weight w
    is reduced by w * weight_decay * learning rate.
    phase: the phase of training. train: the section `train` of params.yaml. steps: the number of
    batches in an epoch. With `train.accumulate`, the mean gradient of so many batches makes one
    update of the weights; the rate of an update is the rate of its last batch.
    """
    import keras

    total = phase.epochs * steps
    kinds = {
        "adamw": (keras.optimizers.AdamW, {}),
        "sgd": (keras.optimizers.SGD, {"momentum": train.momentum}),
        "rmsprop": (keras.optimizers.RMSprop, {"momentum": train.momentum}),
        "lion": (keras.optimizers.Lion, {}),
    }
    kind, settings = kinds[train.optimizer]
    optimizer = _extended(kind, _scales(phase, total), phase.schedule == "plateau")(
        build_schedule(phase.schedule, phase.learning_rate, round(total * phase.warmup), total),
        weight_decay=train.weight_decay,
        global_clipnorm=train.clip_norm or None,
        use_ema=train.average.ema > 0,
        ema_momentum=train.average.ema,
        gradient_accumulation_steps=train.accumulate if train.accumulate > 1 else None,
        **settings,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def lower_rate(optimizer: Any, waited: int, patience: int, epochs: int) -> None:
    """Lower the rate of the schedule `plateau` if the metric has not improved for long enough.

    The rate is divided by 10 each time that half of the patience of early stopping has passed, or a
    fifth of the epochs of the phase if this is less: with a patience that never ends a phase, the
    rate would never fall.
    waited: the number of epochs since the last improvement, after an epoch. epochs: of the phase.
    """
    wait = max(1, min(patience // 2, epochs // 5))
    if optimizer.rate_factor is not None and waited and waited % wait == 0:
        optimizer.rate_factor.assign(optimizer.rate_factor * DROP)


def _scales(phase: Phase, total: int) -> tuple[Scale, ...]:
    """Return the scale of each trainable variable; empty if all are trained alike.

    The head has the rate of the phase, the last block `layer_decay` times this rate, the block
    before it layer_decay², and so on (Clark et al., 2020, ELECTRA). With S stages, the first S-th
    of the phase trains the first S-th of the blocks, counted from the output; then follow the next
    blocks, as in ULMFiT (Howard and Ruder, 2018).
    """
    if phase.layer_decay == 1 and phase.stages == 1:
        return ()
    scales = {}
    for position, block in enumerate(phase.blocks):
        stage = position * phase.stages // len(phase.blocks)
        scale = Scale(phase.layer_decay ** (position + 1), round(total * stage / phase.stages))
        scales.update({id(variable): scale for variable in block})
    return tuple(scales.get(id(variable), Scale()) for variable in phase.model.trainable_variables)


def _extended(kind: Any, scales: tuple[Scale, ...], plateau: bool) -> Any:
    """Return a subclass of a Keras optimizer.

    kind: the class. scales: the scale of each variable with which the optimizer is built; empty if
    all have the common rate. plateau: True if the rate has a factor that can be lowered.
    """
    from keras import ops

    class Extended(kind):  # type: ignore[misc]
        rate_factor: Any = None
        rate_of_decay: Any = None
        weight_decay: Any

        def build(self, variables: Any) -> None:
            super().build(variables)
            if plateau and self.rate_factor is None:
                self.rate_factor = self.add_variable((), initializer="ones", name="rate_factor")

        def _get_current_learning_rate(self) -> Any:
            if self.rate_of_decay is not None:
                return self.rate_of_decay
            rate = super()._get_current_learning_rate()
            return rate if self.rate_factor is None else rate * self.rate_factor

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            if scales:
                scale = scales[self._get_variable_index(variable)]
                learning_rate = self._scaled(learning_rate, scale)
            super().update_step(gradient, variable, learning_rate)

        def _apply_weight_decay(self, variables: Any) -> None:
            # Keras would compute the schedule again for each variable. In a small network, that is
            # an eighth of the time of a step.
            self.rate_of_decay = self._get_current_learning_rate()
            try:
                self._decay(variables)
            finally:
                self.rate_of_decay = None

        def _decay(self, variables: Any) -> None:
            decay: Any = self.weight_decay
            for scale in dict.fromkeys(scales):
                self.weight_decay = self._scaled(decay, scale)
                super()._apply_weight_decay(
                    [one for one in variables if scales[self._get_variable_index(one)] == scale]
                )
                self.weight_decay = decay
            if not scales:
                super()._apply_weight_decay(variables)

        def _scaled(self, value: Any, scale: Scale) -> Any:
            value = value * scale.factor
            if not scale.start:
                return value
            return value * ops.cast(self._iterations >= scale.start, "float32")

        def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
            """Keep the average with bias correction, which after t updates with decay d is.

            (1 - d) * (w_t + d w_(t-1) + … + d^(t-1) w_1) / (1 - d^t). With accumulated gradients,
            only each update counts, not each batch.
            """
            batches = self.gradient_accumulation_steps or 1
            updates = ops.cast((self._iterations + 1) // batches, "float32")
            updated = (self._iterations + 1) % batches == 0
            log_decay = math.log(self.ema_momentum)
            weight = math.expm1(log_decay) / ops.expm1(updates * log_decay)
            weight = ops.where(updated, weight, 0.0)
            averages = self._model_variables_moving_average
            for variable, average in zip(trainable_variables, averages, strict=True):
                average.assign(average + weight * (variable - average))

        @property
        def averages(self) -> list[Any]:
            """Return the moving average of each trainable variable; empty without `use_ema`."""
            return self._model_variables_moving_average if self.use_ema else []

        def finalize_variable_values(self, var_list: Any) -> None:
            """Leave the weights as they are: averaging.py says when the average is used."""

    return Extended
