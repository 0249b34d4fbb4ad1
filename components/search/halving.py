"""Values of trials → which trials train for longer, and for how many epochs.

This is synchronous successive halving (Jamieson and Talwalkar, 2016): k trials train for a few
epochs, the best 1 / eta of them for eta times as many, and so on, until the last ones have trained
for all epochs. A round ends when all its trials are finished, so the order in which they finish
changes nothing: one worker and four workers choose the same trials. Each trial continues from its
own checkpoint, so a round costs only the epochs that it adds.

Example: k = 9 trials, eta = 3, 27 epochs.

    round   trials   train until epoch   go on
    1       9        3                   3
    2       3        9                   1
    3       1        27                  1 (the winner)

In sum 9 * 3 + 3 * 6 + 1 * 18 = 63 epochs are trained, instead of 9 * 27 = 243.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Round:
    """One round of successive halving.

    trials: how many trials take part. epochs: until which epoch they train, counted from the start
    of the trial, not of the round. go_on: how many of them take part in the next round; 1 in the
    last round, whose best trial is the winner.
    """

    trials: int
    epochs: int
    go_on: int


def rounds(k: int, eta: int, epochs: int) -> list[Round]:
    """Return the rounds for k trials, of which the last ones train until epoch `epochs`.

    k: the number of trials in the first round, at least 1. eta: a round keeps 1 / eta of its
    trials, rounded down, but at least one; at least 2. epochs: the number of epochs of a complete
    training, at least 1. Raises ValueError if one of them is too small.

    >>> for halving in rounds(k=9, eta=3, epochs=27):
    ...     print(halving)
    Round(trials=9, epochs=3, go_on=3)
    Round(trials=3, epochs=9, go_on=1)
    Round(trials=1, epochs=27, go_on=1)

    A number of epochs that is not whole is rounded up. The number of trials in the last round is
    not always 1:

    >>> rounds(k=6, eta=4, epochs=10)
    [Round(trials=6, epochs=3, go_on=1), Round(trials=1, epochs=10, go_on=1)]
    >>> rounds(k=5, eta=3, epochs=8)
    [Round(trials=5, epochs=3, go_on=1), Round(trials=1, epochs=8, go_on=1)]
    >>> rounds(k=2, eta=3, epochs=8)
    [Round(trials=2, epochs=8, go_on=1)]

    With few epochs two rounds would train until the same epoch. The second one would see what the
    first one has seen, so there is only one:

    >>> rounds(k=9, eta=3, epochs=2)
    [Round(trials=9, epochs=1, go_on=1), Round(trials=1, epochs=2, go_on=1)]
    """
    if k < 1 or eta < 2 or epochs < 1:
        raise ValueError(
            f"k and epochs must be at least 1, eta at least 2. Received: {k}, {epochs}, {eta}"
        )
    sizes = [k]
    while sizes[-1] >= eta:
        sizes.append(sizes[-1] // eta)
    # Whole numbers only: a logarithm of floats gives one round too few for some powers of eta.
    until = [-(-epochs // eta**later) for later in reversed(range(len(sizes)))]
    # Of the rounds until the same epoch the first one stays, because it has the most trials.
    first = [i for i in range(len(sizes)) if i == 0 or until[i] > until[i - 1]]
    following = [sizes[i] for i in first[1:]] + [1]
    return [Round(sizes[i], until[i], go_on) for i, go_on in zip(first, following, strict=True)]


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


def best(values: Mapping[int, float | None]) -> int | None:
    """Return the number of the trial with the highest value, or None if no trial has a value.

    Of equal trials the one with the lower number is the best.

    >>> best({2: 0.9, 1: 0.9, 0: 0.8})
    1
    >>> best({0: float("nan"), 1: None}) is None
    True
    """
    return next(iter(best_trials(values, 1)), None)
