"""The name of a schedule → the learning rate of each step of a phase."""

import math
from collections.abc import Callable
from typing import Any

from components.params.train import Schedule

START = 1 / 25  # of one_cycle: the share of the highest rate with which the phase begins
END = START / 1e4  # of one_cycle: the share at the end
DROP = 0.1  # the factor of each drop of `step` and `plateau`
DROPS = (1 / 2, 3 / 4)  # of `step`: the shares of the steps after the warm-up where it drops


def build_schedule(name: Schedule, rate: float, warmup: int, total: int) -> Any:
    """Return the learning rate of each step, as a Keras schedule.

    In the warm-up, the rate rises from 0 to `rate` in a straight line. After it:

    - cosine: the rate falls to 0 along half a cosine (Loshchilov and Hutter, 2017).
    - step: a tenth of the rate after half of the steps that are left, a hundredth after three
      quarters of them (He et al., 2016).
    - plateau: the rate stays. `build_optimizer` makes it fall when a metric no longer improves.

    one_cycle (Smith and Topin, 2018): in the warm-up, the rate rises from a 25th of `rate` along
    half a cosine; then it falls along half a cosine, to less than a hundred-thousandth of `rate`.
    The momentum stays. The paper uses a warm-up of 0.3 to 0.45.

    rate: the highest rate. warmup: the number of steps of the warm-up. total: the number of steps
    of the phase.
    """
    import keras

    if name == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            decay_steps=max(1, total - warmup),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    rise, fall = {"one_cycle": (_cycle_up, _cycle_down), "step": (_line, _drops)}.get(
        name, (_line, keras.ops.ones_like)
    )
    return _build_curve(rate, warmup, total, rise, fall)


def _build_curve(
    rate: float,
    warmup: int,
    total: int,
    rise: Callable[[Any], Any],
    fall: Callable[[Any], Any],
) -> Any:
    """Return a schedule of two curves, which map a share of their steps to a share of the rate."""
    import keras
    from keras import ops

    class Curve(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        def __call__(self, step: Any) -> Any:
            now = ops.cast(step, "float32")
            up = rise(now / max(1, warmup))
            down = fall(ops.clip((now - warmup) / max(1, total - warmup), 0.0, 1.0))
            return rate * ops.where(now < warmup, up, down)

        def get_config(self) -> dict[str, Any]:
            return {}

    return Curve()


def _line(share: Any) -> Any:
    return share


def _cycle_up(share: Any) -> Any:
    return START + (1 - START) * (1 - _half_cosine(share))


def _cycle_down(share: Any) -> Any:
    return END + (1 - END) * _half_cosine(share)


def _half_cosine(share: Any) -> Any:
    """Return a value that falls from 1 to 0 while the share rises from 0 to 1."""
    from keras import ops

    return 0.5 * (1 + ops.cos(math.pi * share))


def _drops(share: Any) -> Any:
    from keras import ops

    passed = [ops.cast(share >= after, "float32") for after in DROPS]
    return DROP ** sum(passed)
