"""Intervals of scores → an axis on which a page draws each of them as a bar."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from components.evaluation.interval import Interval


@dataclass(frozen=True)
class Axis:
    """An axis of scores from `low` to 1. On this axis an interval is drawn as a bar."""

    low: float

    def percent(self, value: float) -> float:
        """Return the position of a value on the axis, from 0 (at `low`) to 100 (at 1)."""
        return round(100 * (value - self.low) / (1 - self.low), 2)


def axis_of(intervals: Iterable[Interval]) -> Axis:
    """Return an axis that contains all intervals. `low` is a multiple of 0.1, at most 0.9.

    >>> axis_of([Interval(0.9, 0.83, 0.95), Interval(0.9, None, None)])
    Axis(low=0.8)
    """
    lows = [interval.low for interval in intervals if interval.low is not None]
    return Axis(min([9, *(math.floor(10 * low) for low in lows)]) / 10)
