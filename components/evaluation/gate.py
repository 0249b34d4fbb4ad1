"""Challenger and champion on the same test images → promote, hold or reject, with the reasons.

The champion is the model that is in use. The challenger is a new model. The gate is the list of
rules below, which decide whether the challenger may replace the champion. "promote" means that the
challenger should replace the champion. "reject" means that it should not. "hold" means that the
result is unclear, so a person must decide.

Each rule is a decision and a condition. The rules are tried in this order. The first rule whose
condition is true decides. docs/decisions/promotion-gate.md explains the rules.

The "difference" of a metric is the challenger's value minus the champion's value. The "drop" of a
class is the champion's recall of the class minus the challenger's recall of the class. An
"interval" is a bootstrap confidence interval. A "floor" is a minimum value in params.yaml.
`max_recall_drop` is the limit for a drop, also in params.yaml.

1. reject: a probability of the challenger is NaN or infinite.
2. reject: the challenger's accuracy, balanced accuracy or recall of a class is below its floor.
3. reject: the challenger is significantly worse than the champion. "Significantly worse" means that
   for at least one of accuracy, balanced accuracy and macro F1 the whole interval of the difference
   is below 0.
4. reject: the drop of a class is significantly above `max_recall_drop`. "Significantly above" means
   that the measured drop and its whole interval are above `max_recall_drop`.
5. hold: a check is impossible. Either a class has no test image, so its recall is undefined, or a
   probability of the champion is NaN or infinite.
6. hold: the drop of a class may be above `max_recall_drop`. "May be above" means that the measured
   drop is above `max_recall_drop` and its whole interval is above 0, but a part of the interval is
   not above `max_recall_drop`.
7. promote: there is no champion, or the challenger is significantly better than the champion.
   "Significantly better" means that for at least one of accuracy, balanced accuracy and macro F1
   the whole interval of the difference is above 0.
8. hold: no other rule applies. So neither model is significantly better than the other model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from components.evaluation.bootstrap import Floats, Interval, Ints
from components.evaluation.comparison import Comparison, compare
from components.params.register import Floors, Register

Decision = Literal["promote", "hold", "reject"]


@dataclass(frozen=True)
class Verdict:
    """The decision of the gate on a challenger, its reasons, and the metrics of the two models.

    decision: the decision. reasons: the reasons in words. comparison: one `Comparison` for each
    metric; an empty tuple if a probability of the challenger is NaN or infinite. images: the number
    of test images. confidence: the confidence level of the intervals, such as 0.95.
    """

    decision: Decision
    reasons: tuple[str, ...]
    comparison: tuple[Comparison, ...]
    images: int
    confidence: float

    def to_tree(self) -> dict[str, Any]:
        """Return nested dicts and lists for verdict.json. An undefined value is None."""
        tree = asdict(self)
        return {**tree, "reasons": list(self.reasons), "comparison": list(tree["comparison"])}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> "Verdict":
        """Build a verdict from the dict that `to_tree` returned. Additional keys are ignored."""
        return cls(
            decision=tree["decision"],
            reasons=tuple(tree["reasons"]),
            comparison=tuple(_comparison(row) for row in tree["comparison"]),
            images=tree["images"],
            confidence=tree["confidence"],
        )


def judge(
    labels: Ints,
    challenger: Floats,
    champion: Floats | None,
    class_names: Sequence[str],
    register: Register,
    seed: int,
) -> Verdict:
    """Judge a challenger by the rules at the top of this file.

    labels: int [N], the label of each test image as an index into class_names. challenger: float
    [N, C], the probabilities of the challenger; column c belongs to class_names[c]. champion: float
    [N, C], the probabilities of the champion, with the same columns (see
    `comparison.align_columns`); None if there is no champion. class_names: the names of the C
    classes. register: the section `register` of params.yaml. seed: the seed of the random
    samples of the test images from which the intervals are computed.

    The same arguments give the same verdict.
    """

    def decide(decision: Decision, reasons: Sequence[str]) -> Verdict:
        return Verdict(decision, tuple(reasons), rows, len(labels), register.confidence)

    rows: tuple[Comparison, ...] = ()
    if broken := _not_finite("challenger", challenger):
        return decide("reject", broken)
    unusable = [] if champion is None else _not_finite("champion", champion)
    rows = compare(labels, challenger, None if unusable else champion, class_names, register, seed)
    percent = f"{100 * register.confidence:g} %"
    failures = [
        *_below_floors(rows, register.floors),
        *_significant(rows, percent, better=False),
        *_certain_drops(rows, percent, register.max_recall_drop),
    ]
    if failures:
        return decide("reject", failures)
    doubts = [
        *unusable,
        *_classes_without_images(rows),
        *_possible_drops(rows, percent, register.max_recall_drop),
    ]
    if doubts:
        return decide("hold", doubts)
    if champion is None:
        return decide("promote", [_all_floors_hold(rows)])
    if gains := _significant(rows, percent, better=True):
        return decide("promote", gains)
    return decide("hold", [_no_difference(rows, percent)])


def _not_finite(whose: str, probabilities: Floats) -> list[str]:
    broken = int((~np.isfinite(probabilities)).any(axis=1).sum())
    images = len(probabilities)
    text = f"the {whose}'s probabilities are NaN or infinite for {broken} of {images} test images"
    return [text] if broken else []


def _below_floors(rows: Sequence[Comparison], floors: Floors) -> list[str]:
    reasons = []
    for row in rows:
        floor, value = getattr(floors, row.metric, None), row.challenger.value
        if floor is not None and value is not None and value < floor:
            reasons.append(f"{row.title} {value:.3f} is below its floor of {floor:g}")
    return reasons


def _significant(rows: Sequence[Comparison], percent: str, *, better: bool) -> list[str]:
    figures = [
        _figures(row, percent)
        for row in rows
        if row.class_name is None and _beyond_zero(row.difference, better=better)
    ]
    word = "better" if better else "worse"
    return [f"significantly {word} than the champion: {'; '.join(figures)}"] if figures else []


def _beyond_zero(difference: Interval | None, *, better: bool) -> bool:
    if difference is None or difference.low is None or difference.high is None:
        return False
    return difference.low > 0 if better else difference.high < 0


def _certain_drops(rows: Sequence[Comparison], percent: str, limit: float) -> list[str]:
    return [
        f"{row.title} dropped by significantly more than {limit:g}: {_figures(row, percent)}"
        for row in rows
        if row.class_name is not None and _below(row.difference, value=-limit, high=-limit)
    ]


def _possible_drops(rows: Sequence[Comparison], percent: str, limit: float) -> list[str]:
    return [
        f"{row.title} dropped, perhaps by more than {limit:g}: {_figures(row, percent)}"
        for row in rows
        if row.class_name is not None and _below(row.difference, value=-limit, high=0)
    ]


def _below(difference: Interval | None, *, value: float, high: float) -> bool:
    """Return True if the difference is below a limit and its whole interval is below another limit.

    difference: the difference and its interval. value: the limit for the difference. high: the
    limit for the upper end of the interval.
    """
    if difference is None or difference.value is None or difference.high is None:
        return False
    return difference.value < value and difference.high < high


def _classes_without_images(rows: Sequence[Comparison]) -> list[str]:
    names = [row.class_name for row in rows if row.challenger.value is None and row.class_name]
    text = f"no test image of {', '.join(names)}, so the floor for the recall cannot be checked"
    return [text] if names else []


def _all_floors_hold(rows: Sequence[Comparison]) -> str:
    overall = ", ".join(
        f"{row.title} {row.challenger.value:.3f}" for row in rows if row.class_name is None
    )
    recalls = [row for row in rows if row.class_name is not None]
    lowest = min(recalls, key=lambda row: row.challenger.value or 0)
    return (
        f"there is no champion, and no value is below its floor: {overall}, "
        f"lowest recall {lowest.challenger.value:.3f} (class {lowest.class_name})"
    )


def _no_difference(rows: Sequence[Comparison], percent: str) -> str:
    overall = [row for row in rows if row.class_name is None]
    same = [row for row in overall if _is_zero(row.difference)]
    figures = [_figures(row, percent) for row in overall if row not in same]
    if same:
        values = ", ".join(f"{row.title} {row.challenger.value:.3f}" for row in same)
        figures.insert(0, f"{values}, exactly as the champion")
    return f"no significant difference from the champion: {'; '.join(figures)}"


def _is_zero(difference: Interval | None) -> bool:
    """Return True if the difference and its whole interval are 0, as for equal predictions."""
    return difference is not None and difference.value == difference.low == difference.high == 0


def _figures(row: Comparison, percent: str) -> str:
    """Return a comparison in words: the values of the two models, the difference, its interval.

    Example: `accuracy 0.912 against 0.874, +0.038 (95 % interval +0.011 to +0.065)`. If there is no
    champion, only the title and the value of the challenger are returned.
    """
    if row.champion is None or row.difference is None:
        return f"{row.title} {row.challenger.value:.3f}"
    low, difference, high = (
        f"{value:+.3f}".replace("-", "−")
        for value in (row.difference.low, row.difference.value, row.difference.high)
    )
    return (
        f"{row.title} {row.challenger.value:.3f} against {row.champion.value:.3f}, "
        f"{difference} ({percent} interval {low} to {high})"
    )


def _comparison(tree: Mapping[str, Any]) -> Comparison:
    return Comparison(
        metric=tree["metric"],
        class_name=tree["class_name"],
        challenger=Interval(**tree["challenger"]),
        champion=tree["champion"] and Interval(**tree["champion"]),
        difference=tree["difference"] and Interval(**tree["difference"]),
    )
