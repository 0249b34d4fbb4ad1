"""Values of trials → which trials train for longer, and for which share of their epochs.

This is synchronous successive halving (Jamieson and Talwalkar, 2016): k trials train for a share of
their epochs, the best 1 / eta of them for eta times as many, and so on, until the last ones have
trained for all epochs. A round ends when all its trials are finished, so the order in which they
finish changes nothing: one worker and four workers choose the same trials. Each trial continues
from its own checkpoint, so a round costs only the epochs that it adds. The schedule of its learning
rate is that of all its epochs from the start.

Example: k = 9 trials, eta = 3, 27 epochs.

    round   trials   share   train until epoch   go on
    1       9        1/9     3                   3
    2       3        1/3     9                   1
    3       1        1       27                  1 (the winner)

In sum 9 * 3 + 3 * 6 + 1 * 18 = 63 epochs are trained, instead of 9 * 27 = 243.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Round:
    """One round of successive halving.

    trials: how many trials take part. share: the share of its epochs until which each trains,
    counted from the start of the trial, not of the round.
    """

    trials: int
    share: Fraction

    def until(self, epochs: int) -> int:
        """Return the number of epochs until which a trial trains that has `epochs` in all.

        >>> Round(trials=9, share=Fraction(1, 9)).until(10)
        2
        """
        return math.ceil(self.share * epochs)


def rounds(k: int, eta: int) -> list[Round]:
    """Return the rounds for k trials, of which the last ones train for all their epochs.

    k: the number of trials in the first round; with 0 there is no round. eta: a round keeps
    1 / eta of its trials, rounded down, but at least one; at least 2.

    >>> for halving in rounds(k=9, eta=3):
    ...     print(halving.trials, halving.share)
    9 1/9
    3 1/3
    1 1
    >>> [halving.trials for halving in rounds(k=5, eta=2)]
    [5, 2, 1]
    """
    if k < 0 or eta < 2:
        raise ValueError(f"k must be at least 0, eta at least 2. Received: {k}, {eta}")
    sizes = [k] if k else []
    while sizes and sizes[-1] >= eta:
        sizes.append(sizes[-1] // eta)
    return [
        Round(size, Fraction(1, eta**later))
        for size, later in zip(sizes, reversed(range(len(sizes))), strict=True)
    ]


def best_trials(values: Mapping[int, float | None], count: int) -> list[int]:
    """Return the numbers of the `count` trials with the highest values, the best one first.

    Of equal trials the one with the lower number comes first. A trial whose value is None (it
    failed or was pruned), NaN or infinite is never among them, so fewer than `count` may be
    returned. The order of the dict changes nothing.

    values: a dict from the number of a finished trial to its value.

    >>> best_trials({3: 0.8, 0: 0.9, 2: 0.9, 1: float("nan"), 4: None}, count=3)
    [0, 2, 3]
    >>> best_trials({0: 0.5, 1: None}, count=2)
    [0]
    """
    finite = [
        (-value, number)
        for number, value in values.items()
        if value is not None and math.isfinite(value)
    ]
    return [number for _, number in sorted(finite)[:count]]
