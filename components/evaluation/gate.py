"""Challenger and champion on the same test images → promote, hold or reject, with the reasons.

The champion is the model that is in use. The challenger is a new model. The gate is the list of
rules below, which decide whether the challenger may replace the champion. "promote" means that the
challenger should replace the champion. "reject" means that it should not. "hold" means that the
result is unclear, so a person must decide.

Each rule is a decision and a condition. The rules are tried in this order. The first rule whose
condition is true decides. docs/decisions/promotion-gate.md explains the rules, and says how often
they are wrong.

The two models are compared on the images of the classes that both models know (see comparison.py).
If the classes changed, this is the first reason of the verdict. An image that the champion gives to
a class that only it knows can be lost, but it is never a gain. "Primary" is the metric
`register.primary`. "p" is the probability that chance alone gives at least so large a difference of
the primary metric, if the models are equally good (see paired.py). The "drop" of a class is the
champion's recall minus the challenger's recall. A "floor" is a minimum value in params.yaml.
`max_recall_drop` is the limit for a drop, also in params.yaml. The level is (1 - confidence) / 2,
such as 0.025.

1. reject: a probability of the challenger is NaN or infinite.
2. reject: the challenger's accuracy, balanced accuracy or recall of a class is below its floor, on
   all test images.
3. reject: the challenger is significantly worse than the champion in the primary metric: p is at
   most the level.
4. reject: the drop of a class is significantly above `max_recall_drop`: the whole interval of the
   drop is above it.
5. hold: a check is impossible. Either a class has no test image, so its recall is undefined, or a
   probability of the champion is NaN or infinite, or no test image has a class that both know.
6. hold: harm to a class is not excluded (see guards.py).
7. promote: there is no champion, or the challenger is significantly better than the champion in the
   primary metric: p is at most the level, divided by 1 + the number of earlier comparisons on the
   same test split.
8. hold: no other rule applies. So neither model is significantly better than the other model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Literal

from components.evaluation import reasons
from components.evaluation.bootstrap import whole_sample
from components.evaluation.comparison import (
    Comparison,
    Pair,
    Rival,
    compare,
    pair_predictions,
    title,
)
from components.evaluation.decision import decided_classes
from components.evaluation.guards import Change, changes, doubtful
from components.evaluation.interval import Floats, Interval, Ints
from components.evaluation.paired import permutation_test, sign_test
from components.evaluation.scores import count_scores
from components.params.register import Floors, Register

Decision = Literal["promote", "hold", "reject"]
# A permutation test needs at least this number of draws that are as large as the measured
# difference, on average, if p is at the level. With fewer draws, p could never be below the level.
DRAWS_AT_LEVEL = 20


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
    champion: Rival | None,
    class_names: Sequence[str],
    register: Register,
    seed: int,
    earlier: int,
) -> Verdict:
    """Judge a challenger by the rules at the top of this file.

    labels: int [N], the label of each test image as an index into class_names. challenger: float
    [N, C], the probabilities of the challenger; column c belongs to class_names[c]. champion: the
    probabilities and the class names of the champion; None if there is no champion. class_names:
    the names of the C classes. register: the section `register` of params.yaml. seed: the seed of
    the random numbers of the intervals and of the permutation test. earlier: how many other
    models were already compared with a champion on exactly these test images.

    The same arguments give the same verdict.
    """

    def decide(decision: Decision, *why: str) -> Verdict:
        return Verdict(decision, (*first, *why), rows, len(labels), register.confidence)

    first: list[str] = []
    rows: tuple[Comparison, ...] = ()
    if broken := reasons.not_finite("challenger", challenger):
        return decide("reject", *broken)
    unusable = reasons.not_finite("champion", champion.probabilities) if champion else []
    pair = None
    if champion and not unusable:
        pair = pair_predictions(labels, challenger, champion, class_names)
        first = reasons.changed_classes(pair)
        if not len(pair.labels):
            unusable, pair = [reasons.NOTHING_SHARED], None
    rows = compare(labels, challenger, pair, class_names, register, seed)
    recalls = [] if pair is None else _recall_changes(pair, register)
    floors = _below_floors(labels, challenger, class_names, register.floors)
    looks = [] if pair is None else reasons.account(earlier, None)
    if failures := [*_worse(pair, rows, register, seed), *floors, *reasons.harms(recalls)]:
        return decide("reject", *failures, *looks)
    possible = reasons.possible_harms(doubtful(recalls))
    if doubts := [*unusable, *reasons.without_images(labels, class_names), *possible]:
        return decide("hold", *doubts, *looks)
    if pair is None:
        return decide("promote", reasons.all_floors_hold(rows))
    level = _level(register) / (1 + earlier)
    p = _chance(pair, register, seed, level, better=True)
    primary, account = _primary(rows, register), reasons.account(earlier, level)
    if p > level:
        same = reasons.no_difference(primary, register.confidence, p, level)
        return decide("hold", same, *account)
    gain = reasons.significant("better", primary, register.confidence, p)
    return decide("promote", gain, *reasons.excluded_drops(recalls), *account)


def _worse(
    pair: Pair | None, rows: Sequence[Comparison], register: Register, seed: int
) -> list[str]:
    """Return a reason if the challenger is significantly worse in the primary metric."""
    if pair is None:
        return []
    p = _chance(pair, register, seed, _level(register), better=False)
    if p > _level(register):
        return []
    return [reasons.significant("worse", _primary(rows, register), register.confidence, p)]


def _level(register: Register) -> float:
    return (1 - register.confidence) / 2


def _primary(rows: Sequence[Comparison], register: Register) -> Comparison:
    return next(row for row in rows if row.metric == register.primary)


def _recall_changes(pair: Pair, register: Register) -> list[Change]:
    """Return the change of the recall of each shared class that has test images."""
    groups = {title("recall", name): images for name, images in pair.members().items()}
    right = (pair.tested_champion == pair.labels, pair.challenger == pair.labels)
    return list(changes(*right, groups, register.max_recall_drop, register.confidence))


def _chance(pair: Pair, register: Register, seed: int, level: float, *, better: bool) -> float:
    """Return p of rule 7, or of rule 3 if `better` is False.

    level: the number with which p is compared; a permutation test then has enough draws.
    """
    new, old = pair.challenger, pair.tested_champion
    first, second = (new, old) if better else (old, new)
    if register.primary == "accuracy":
        right, other = first == pair.labels, second == pair.labels
        return sign_test(int((right & ~other).sum()), int((other & ~right).sum()))
    classes, draws = len(pair.shared) + 1, max(register.resamples, ceil(DRAWS_AT_LEVEL / level))
    return permutation_test(pair.labels, first, second, classes, register.primary, draws, seed)


def _below_floors(
    labels: Ints, challenger: Floats, class_names: Sequence[str], floors: Floors
) -> list[str]:
    """Return a reason for each score of the challenger, on all test images, below its floor."""
    predicted = decided_classes(challenger)
    scores = count_scores(labels, predicted, len(class_names), whole_sample(len(labels)))
    overall = {"accuracy": floors.accuracy, "balanced_accuracy": floors.balanced_accuracy}
    low = [
        text
        for metric, floor in overall.items()
        for text in reasons.below({title(metric): scores[metric][0]}, floor)
    ]
    recalls = dict(zip(class_names, scores["recall"][:, 0].tolist(), strict=True))
    return [*low, *reasons.below_floor(recalls, floors.recall)]


def _comparison(tree: Mapping[str, Any]) -> Comparison:
    return Comparison(
        metric=tree["metric"],
        class_name=tree["class_name"],
        challenger=Interval(**tree["challenger"]),
        champion=tree["champion"] and Interval(**tree["champion"]),
        difference=tree["difference"] and Interval(**tree["difference"]),
    )
