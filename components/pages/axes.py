"""Values along an axis → the marks on it."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Tick:
    """A mark on an axis, at `at` along it."""

    at: float
    text: str


def round_steps(low: float, high: float, steps: int) -> list[float]:
    """Return about `steps` round numbers, the first at or below low, the last at or above high."""
    rough = max(high - low, 1e-9) / steps
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * index, 10) for index in range(first, max(last, first + 1) + 1)]
