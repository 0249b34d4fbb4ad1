"""The sections of params.yaml → what a search will train, in numbers and in words, and how long.

How long is a guess until the first trials are finished: the speed of a training depends on the
machine, and on the values that the trials choose. It counts epochs of the phase `finetune`; the
phase `head` costs about as much as one of them, because it learns from stored features. Trainings
that stop early, and those that fail, make a search shorter.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.params.hyperparameters import Hyperparameters
from components.params.search import ALL, HEAD, Search
from components.search.halving import rounds
from components.search.rungs import FIRST

CONFIRMATION = "confirmation"


@dataclass(frozen=True)
class Part:
    """A rung of a search before it runs.

    rung: its name, without the numbers of trials. trainings: how many it has, at most. epochs: what
    one of them trains, in epochs of the phase `finetune`.
    """

    rung: str
    trainings: int
    epochs: float


def parts(search: Search, written: Hyperparameters) -> list[Part]:
    """Return the rungs of a search, in their order.

    A search whose trials choose their number of epochs is taken as if all had the one in
    params.yaml.
    """
    head = 1.0 if written.model.pretrained and written.train.head.epochs else 0.0
    whole = written.train.finetune.epochs
    known = {HEAD: 0, ALL: whole}
    first = search.first_rung
    until = known[first] if isinstance(first, str) else min(first, whole)
    found = [Part(FIRST, search.trials, head + until)]
    finalists = min(search.finalists, search.trials)
    for number, plan in enumerate(rounds(finalists, search.eta), start=1):
        before, until = until, max(until, plan.until(whole))
        found.append(Part(f"round {number}", plan.trials, until - before))
    confirmed = min(search.confirm.trials, search.trials - 1)
    if confirmed:
        trainings = search.confirm.folds * (1 + confirmed)
        found.append(Part(CONFIRMATION, trainings, head + whole))
    return found


def in_words(parts: Sequence[Part]) -> str:
    """Return what a search trains.

    >>> in_words([Part("first rung", 24, 2), Part("round 1", 4, 2), Part("round 2", 2, 4),
    ...           Part("round 3", 1, 7), Part("confirmation", 9, 15)])
    '24 trials, then 4 finalists in 3 rounds, then 9 trainings on folds'
    >>> in_words([Part("first rung", 1, 15)])
    '1 trial'
    """
    first, *later = parts
    turns = [part for part in later if part.rung != CONFIRMATION]
    words = [_many(first.trainings, "trial")]
    if turns:
        finalists = _many(turns[0].trainings, "finalist")
        words.append(f"then {finalists} in {_many(len(turns), 'round')}")
    words += [
        f"then {_many(part.trainings, 'training')} on folds"
        for part in later
        if part.rung == CONFIRMATION
    ]
    return ", ".join(words)


def seconds_needed(parts: Sequence[Part], per_epoch: float, workers: int) -> float:
    """Return how many seconds rungs take that have not begun.

    per_epoch: seconds that an epoch takes on one worker. A rung ends when its last training ends.

    >>> seconds_needed([Part("first rung", 5, 2), Part("round 1", 1, 10)], 3.0, workers=2)
    48.0
    """
    return sum(math.ceil(part.trainings / workers) * part.epochs * per_epoch for part in parts)


def seconds_per_epoch(parts: Sequence[Part], took: Mapping[str, tuple[int, float]]) -> float | None:
    """Return how long an epoch took on one worker; None if nothing is finished.

    took: the name of a rung → how many trainings are finished, and the seconds of one of them.

    >>> seconds_per_epoch([Part("first rung", 9, 2)], {"first rung": (3, 8.0)})
    4.0
    """
    known = [(part.epochs, *took[part.rung]) for part in parts if part.rung in took]
    trained = sum(epochs * count for epochs, count, _ in known)
    return sum(count * seconds for _, count, seconds in known) / trained if trained else None


def about(seconds: float) -> str:
    """Return a time that is not known exactly.

    >>> about(8), about(130), about(2460), about(9000), about(200000)
    ('some seconds', 'about 2 min', 'about 40 min', 'about 2.5 h', 'about 55 h')
    """
    minutes = seconds / 60
    if seconds < 20:
        return "some seconds"
    if minutes < 1.5:
        return "about 1 min"
    if minutes < 10:
        return f"about {minutes:.0f} min"
    if minutes < 90:
        return f"about {round(minutes / 5) * 5} min"
    hours = minutes / 60
    return f"about {hours:.1f} h" if hours < 10 else f"about {round(hours / 5) * 5} h"


def _many(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
