"""A phase of training → its optimizer and the learning rate of each step."""

from typing import Any

from components.training.phases import Phase


def build_optimizer(phase: Phase, weight_decay: float, steps: int) -> Any:
    """Build AdamW (Loshchilov and Hutter, 2019) with a learning rate for every step.

    The rate rises linearly during the warm-up, then falls to 0 along half a cosine.
    steps: batches per epoch. Biases and parameters of normalisation layers have no weight decay.
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
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
