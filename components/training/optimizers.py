"""A phase of training → its optimizer, with the learning rate of each step."""

from typing import Any

from components.training.phases import Phase


def build_optimizer(phase: Phase, weight_decay: float, steps: int, accumulate: int) -> Any:
    """Build the optimizer AdamW (Loshchilov and Hutter, 2019) with a learning rate for every step.

    A phase begins with the warm-up, whose share of the steps is `phase.warmup`. During the warm-up
    the learning rate rises linearly from 0 to `phase.learning_rate`. After the warm-up the learning
    rate falls to 0 along half a cosine. There is no weight decay for biases and for the parameters
    of normalisation layers.
    phase: the phase of training. weight_decay: the factor of the weight decay; in each step a
    weight w is reduced by w * weight_decay * learning rate. steps: the number of batches in an
    epoch. accumulate: the number of batches whose mean gradient makes one update of the weights;
    the rate of an update is the rate of its last batch.
    """
    import keras

    total = phase.epochs * steps
    warmup = round(total * phase.warmup)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else phase.learning_rate,
        decay_steps=max(1, total - warmup),
        warmup_target=phase.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=weight_decay,
        gradient_accumulation_steps=accumulate if accumulate > 1 else None,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
