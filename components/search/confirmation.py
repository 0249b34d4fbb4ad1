"""The values of trials on several folds → the trial that training uses, and sentences about it.

The best of many trials on one val split looks better than it is, because it is also the luckiest.
So the best trials and trial 0, which has the params as written, are trained again on folds (see
folds.py). Another trial than trial 0 wins only if its gain on the folds is more than noise.

docs/decisions/no-winner-by-luck.md has measured how often which rule chooses a worse trial.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from components.errors import UserError
from components.evaluation.interval import Interval, corrected_interval
from components.words import count_text

WRITTEN = 0  # the number of the trial with the params as written
# A trial wins if the low end of the interval of its gain is above 0. With this confidence level the
# low end is too high in 20 % of cases. So often wins a trial that is truly as good as trial 0.
CONFIDENCE = 0.6

Direction = Literal["maximize", "minimize"]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """The trial that training uses.

    number: the number of the trial. mean: the mean of its values on the folds. low, high: the
    interval of the mean; None if there is only one fold. gain: by how much the mean is better than
    that of trial 0; None if trial 0 failed. means: number of each trial that did not fail → the
    mean of its values, with its interval. sentences: what a report says about each confirmed
    trial, and about the choice.
    """

    number: int
    mean: float
    low: float | None
    high: float | None
    gain: float | None
    means: Mapping[int, Interval]
    sentences: tuple[str, ...]


def choose(
    confirmed: Mapping[int, Sequence[float]],
    found: Mapping[int, float],
    val_to_train: float,
    direction: Direction,
    epochs: Mapping[int, int] | None = None,
) -> Choice:
    """Choose a trial by its values on the folds, in a paired comparison with trial 0.

    The gain of a trial is the mean of its differences to trial 0, above 0 if it is better, with the
    interval of Nadeau and Bengio (2003). Of the trials whose low end is above 0, the one with the
    best mean is chosen; if there is none, trial 0. One fold has no interval, so trial 0 is chosen.
    A trial that failed on a fold is not chosen. If trial 0 itself failed, nothing can be compared,
    and the trial with the best mean is chosen.

    confirmed: number of a trial → its values on the folds, in the same order for all trials; NaN
    for a training that failed. It must have trial 0. found: number of a trial → its value in the
    search; trials may be missing. val_to_train: see `folds.val_to_train`. direction: whether the
    value is better if it is larger or smaller. epochs: number of a trial → the epochs of
    fine-tuning after which it had this value; None if they are equal for all trials. Values after
    other epochs are not compared: most trials end early, trial 0 often with its head.

    Raises UserError if every trial failed on a fold.

    >>> choice = choose({0: [0.96, 0.95], 7: [0.97, 0.95]}, {0: 0.96, 7: 0.99}, 0.2, "maximize")
    >>> choice.number, round(choice.mean, 3)
    (0, 0.955)
    >>> choice.sentences[1].split(": ")[1]
    'its gain over trial 0 was 0.030 and is 0.005 (−0.003 to 0.013), which is within noise'
    """
    rows = {number: np.asarray(confirmed[number], np.float64) for number in sorted(confirmed)}
    folds = {len(row) for row in rows.values()}
    if WRITTEN not in rows or len(folds) > 1 or folds == {0}:
        raise ValueError(f"trial 0 and one value for each fold are needed. Received: {confirmed}")
    complete = {number: row for number, row in rows.items() if np.isfinite(row).all()}
    if not complete:
        raise UserError(
            "search.confirm.trials: each trial failed in at least one training that confirms it, "
            "also the params as written; correct the params, or write 0 to confirm none. "
            f"Received: trials {', '.join(map(str, rows))}"
        )
    before = {number: value for number, value in found.items() if math.isfinite(value)}
    scale = _Scale(val_to_train, direction)
    written = complete.get(WRITTEN)
    gains = {} if written is None else {n: scale.gain(row, written) for n, row in complete.items()}
    better = [number for number, gain in gains.items() if (gain.low or 0.0) > 0]
    eligible = better or ([WRITTEN] if gains else list(complete))
    number = max(eligible, key=lambda n: (scale.sign * complete[n].mean(), -n))
    mean = scale.mean(complete[number])
    level = f"in brackets are intervals with a confidence level of {CONFIDENCE:.0%}"
    return Choice(
        number,
        float(complete[number].mean()),
        mean.low,
        mean.high,
        gains[number].value if gains else None,
        {number: scale.mean(row) for number, row in complete.items()},
        (
            *_trial_sentences(rows, gains, before, scale, epochs or {}),
            *([level] if folds != {1} else []),
            _conclusion(number, better, len(rows)),
        ),
    )


class _Scale:
    """What a value means: which values are better, and how exact the mean of several is."""

    def __init__(self, val_to_train: float, direction: Direction) -> None:
        self._val_to_train = val_to_train
        self.sign = 1 if direction == "maximize" else -1
        # A score is from 0 to 1, a loss has no upper limit.
        self._largest = 1.0 if direction == "maximize" else math.inf

    def mean(self, row: Values) -> Interval:
        """Return the mean of the values on the folds."""
        return self._interval(row, 0.0)

    def gain(self, row: Values, written: Values) -> Interval:
        """Return by how much a trial is better than trial 0."""
        return self._interval(self.sign * (row - written), -self._largest)

    def _interval(self, row: Values, smallest: float) -> Interval:
        if len(row) < 2:
            return Interval(float(row.mean()), None, None)
        return corrected_interval(row, self._val_to_train, CONFIDENCE, (smallest, self._largest))


def _trial_sentences(
    rows: Mapping[int, Values],
    gains: Mapping[int, Interval],
    found: Mapping[int, float],
    scale: _Scale,
    epochs: Mapping[int, int],
) -> Iterator[str]:
    """Yield a sentence for each confirmed trial, first for trial 0."""
    differ = len({epochs.get(number, 0) for number in rows if number in found}) > 1
    for number, row in rows.items():
        name, was, is_now = f"trial {number}", "was", "is"
        if number == WRITTEN:
            name, was, is_now = "the params as written (trial 0)", "were", "are"
        before = ""
        if number in found:
            after = f" {_after(epochs.get(number, 0))}" if differ else ""
            before = f" {was} {_text(found[number])} in the search{after} and"
        failures = int((~np.isfinite(row)).sum())
        if failures:
            yield f"{name}{before} failed on {failures} of {count_text(len(row), 'fold')}"
            continue
        left = ""
        if number in gains and number != WRITTEN:
            both = number in found and WRITTEN in found
            both &= epochs.get(number, 0) == epochs.get(WRITTEN, 0)
            first = scale.sign * (found[number] - found[WRITTEN]) if both else None
            left = f": {_gain_text(first, gains[number])}"
        mean = _interval_text(scale.mean(row))
        yield f"{name}{before} {is_now} {mean} on {count_text(len(row), 'fold')}{left}"


def _after(epochs: int) -> str:
    """Return in words when a trial ended in the search."""
    return f"after {count_text(epochs, 'epoch')}" if epochs else "without fine-tuning"


def _gain_text(first: float | None, gain: Interval) -> str:
    """Return in words what is left of a gain. first: the gain in the search; None if unknown."""
    if gain.low is None or gain.high is None:
        verdict = "and one fold does not show whether it is noise"
    elif gain.low > 0:
        verdict = "which is more than noise"
    else:
        verdict = "which is a loss" if gain.high < 0 else "which is within noise"
    before = "" if first is None else f"was {_text(first)} and "
    return f"its gain over trial 0 {before}is {_interval_text(gain)}, {verdict}"


def _conclusion(number: int, better: Sequence[int], trials: int) -> str:
    if number != WRITTEN and not better:
        return f"training uses trial {number}, because the params as written failed on a fold"
    if number != WRITTEN:
        others = f", the best of {len(better)} such trials" if len(better) > 1 else ""
        return f"training uses trial {number}{others}"
    reason = ", because no other trial was confirmed" if trials == 1 else ""
    return f"training uses the params as written{reason}"


def _interval_text(interval: Interval) -> str:
    value = _text(interval.value)
    if interval.low is None:
        return value
    return f"{value} ({_text(interval.low)} to {_text(interval.high)})"


def _text(value: float | None) -> str:
    return f"{value:z.3f}".replace("-", "−")
