"""python -m tests.benchmarks.gate: how often the promotion gate is wrong, by simulation.

Prints the tables of docs/decisions/promotion-gate.md, in about two minutes on one core. Each row
draws many pairs of models with known recalls, and decides by the gate's own functions, without
floors. The challenger makes three fifths of the champion's mistakes, too, unless the row says that
their mistakes are independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.bootstrap import equal_weight_images, score_interval
from components.evaluation.comparison import OVERALL, title
from components.evaluation.guards import doubts
from components.evaluation.interval import counted_interval
from components.evaluation.paired import (
    drop_excluded,
    macro_score,
    permutation_test,
    sign_test,
)
from components.params.reader import read_params
from components.params.register import Register
from tests.cards import DIGITS

Ints = NDArray[np.int64]
PAIRS = 20_000  # for each row of the table of decisions
TESTED = 1_000  # for each row with permutation tests; four times as many for equal models
DRAWS = 800  # of a permutation test
WEEKS, HISTORIES = 52, 1_000
SPLITS, RESAMPLES = 1_000, 200  # for each row of the table of coverage
SHARES = 200_000  # test splits from which the coverage of accuracy is counted
SHARED = 0.6
LARGE = (300, 300, 300)
TRASHNET = (20, 60, 61, 72, 75, 89)
SKEWED = (200, 120, 40, 20, 12, 8)  # 400 images
chance = lru_cache(maxsize=None)(sign_test)


@dataclass(frozen=True)
class Case:
    """Two models with known recalls.

    images: the number of test images of each class. old, new: the true recall of each class by the
    champion and by the challenger, or one number for all classes. shared: the share of the
    champion's mistakes that the challenger makes, too; None if the mistakes are independent. aim:
    what the share of promotions must be, in percent, such as `≤ 5` or `≥ 50`.
    """

    name: str
    images: Sequence[int]
    old: float | Sequence[float]
    new: float | Sequence[float]
    aim: str = ""
    shared: float | None = SHARED

    def probabilities(self) -> Any:
        """Return, for each class, the probability that an image is lost, gained, wrong twice."""
        old, new = np.broadcast_arrays(self.old, self.new, np.zeros(len(self.images)))[:2]
        both = (1 - old) * (1 - new) if self.shared is None else self.shared * (1 - old)
        both = np.maximum(np.minimum(both, 1 - new), 1 - old - new)
        return 1 - new - both, 1 - old - both, both


def falls(images: int, old: float, new: float, aim: str, shared: float | None = SHARED) -> Case:
    """Three large classes gain six points, and a class of `images` images truly falls."""
    independent = ", independent" if shared is None else ""
    name = f"{images} images fall from {old:.2f} to {new:.2f}{independent}"
    return Case(name, (*LARGE, images), (0.9,) * 3 + (old,), (0.96,) * 3 + (new,), aim, shared)


HARM = [
    falls(8, 0.95, 0.65, "≤ 10"),
    falls(8, 0.95, 0.65, "≤ 10", None),
    falls(20, 0.95, 0.75, "≤ 5"),
    falls(20, 0.95, 0.75, "≤ 5", None),
    falls(30, 0.95, 0.80, ""),
    falls(60, 0.95, 0.80, "≤ 3"),
    falls(60, 0.95, 0.80, "≤ 3", None),
    falls(100, 0.95, 0.85, ""),
    falls(150, 0.95, 0.90, ""),
    falls(150, 0.95, 0.87, ""),
    falls(300, 0.95, 0.90, ""),
    Case(
        "one of thirty classes of 20 falls from 0.95 to 0.75",
        (20,) * 30,
        (0.85,) * 29 + (0.95,),
        (0.91,) * 29 + (0.75,),
        "",
    ),
]
GAIN = [
    Case("large gain 0.05, 25 kept at 0.90", (*LARGE, 25), 0.9, (0.95,) * 3 + (0.9,), "≥ 55"),
    Case("the same, independent", (*LARGE, 25), 0.9, (0.95,) * 3 + (0.9,), "≥ 55", None),
    Case("TrashNet, 0.85 → 0.90", TRASHNET, 0.85, 0.9, "≥ 50"),
    Case("TrashNet, 0.85 → 0.90, independent", TRASHNET, 0.85, 0.9, "", None),
    Case("TrashNet, 0.80 → 0.85", TRASHNET, 0.8, 0.85, "≥ 50"),
    Case("TrashNet, half of the classes 0.85 → 0.95", TRASHNET, 0.85, (0.85, 0.95) * 3),
    Case("ten of 27, 0.90 → 0.95", (27,) * 10, 0.9, 0.95, "≥ 50"),
    Case("ten of 27, 0.85 → 0.90", (27,) * 10, 0.85, 0.9, "≥ 50"),
    Case("ten of 27, 0.90 → 0.95, independent", (27,) * 10, 0.9, 0.95, "", None),
    Case("fifty of 20, 0.85 → 0.90", (20,) * 50, 0.85, 0.9),
]
EQUAL = [
    Case("270 images, 10 classes, 0.98", (27,) * 10, 0.98, 0.98, "≤ 2.5"),
    Case("377 images, TrashNet, 0.85", TRASHNET, 0.85, 0.85, "≤ 2.5"),
    Case("400 images, priors .5 to .02, 0.85", SKEWED, 0.85, 0.85, "≤ 2.5"),
    Case("400 images, priors .5 to .02, 0.95", SKEWED, 0.95, 0.95, "≤ 2.5"),
    Case("100 images, 5 classes, 0.85", (20,) * 5, 0.85, 0.85, "≤ 2.5"),
    Case("2,000 images, 10 classes, 0.95", (200,) * 10, 0.95, 0.95, "≤ 2.5"),
]
BETTER = [
    Case("TrashNet, 0.85 → 0.90", TRASHNET, 0.85, 0.9),
    Case("priors .5 to .02, 0.85 → 0.90", SKEWED, 0.85, 0.9),
    Case(
        "priors .5 to .02, three smallest 0.6 → 0.8", SKEWED, (0.9,) * 3 + (0.6,) * 3,
        (0.9,) * 3 + (0.8,) * 3,
    ),
    Case(
        "priors .5 to .02, two largest 0.85 → 0.92", SKEWED, 0.85, (0.92,) * 2 + (0.85,) * 4
    ),
    Case("2,000 images, 10 classes, 0.95 → 0.97", (200,) * 10, 0.95, 0.97),
]  # fmt: skip


def main() -> None:
    """Print all tables."""
    register = read_params(DIGITS).register_
    show_decisions(register)
    show_metrics(register)
    show_histories(register)
    show_coverage(register.confidence)


def show_decisions(register: Register) -> None:
    """Print how often each case is promoted and rejected, if accuracy is the primary metric."""
    print("| case | promote | hold | reject | asked |\n|---|---|---|---|---|")
    for case in (*HARM, *GAIN, *EQUAL):
        promoted, rejected = decide(case, register, PAIRS)
        hold = ~promoted & ~rejected
        cells = f"{percent(promoted)} | {percent(hold)} | {percent(rejected)} | {case.aim}"
        print(f"| {case.name} | {cells} |")


def decide(
    case: Case, register: Register, pairs: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which of the drawn pairs of models are promoted, and which are rejected: bool [pairs].

    Accuracy is the primary metric, and there are no floors.
    """
    lost, gained = draw_counts(case, pairs, np.random.default_rng(0))
    images, limits = np.array(case.images), (register.max_recall_drop, register.confidence)
    level = (1 - register.confidence) / 2
    totals = list(zip(gained.sum(axis=1).tolist(), lost.sum(axis=1).tolist(), strict=True))
    better = np.array([chance(gain, loss) <= level for gain, loss in totals])
    worse = np.array([chance(loss, gain) <= level for gain, loss in totals])
    # A drop above the limit is certain if a gain of -limit is excluded.
    harmed = drop_excluded(gained, lost, images, -register.max_recall_drop, register.confidence)
    rejected = worse | harmed.any(axis=1)
    return better & ~rejected & ~doubts(lost, gained, images, *limits).any(axis=1), rejected


def show_metrics(register: Register) -> None:
    """Print how often each case is promoted (and significantly better), by each primary metric."""
    print("\n| case | " + " | ".join(map(title, OVERALL)) + " | asked |\n|---|---|---|---|---|")
    for case in (*HARM, *GAIN, *EQUAL, *BETTER):
        generator, pairs = np.random.default_rng(0), 4 * TESTED if case in EQUAL else TESTED
        better = np.zeros((pairs, len(OVERALL)), bool)
        safe = np.zeros((pairs, 1), bool)
        for pair in range(pairs):
            labels, old, new = draw_predictions(case, generator)
            better[pair] = significantly_better(labels, old, new, register, pair)
            safe[pair] = guarded(labels, old, new, case.images, register)
        cells = [
            f"{percent(found & safe[:, 0])} ({percent(found)})" for found in better.transpose()
        ]
        print(f"| {case.name} | " + " | ".join(cells) + f" | {case.aim} |")


def significantly_better(
    labels: Ints, old: Ints, new: Ints, register: Register, seed: int
) -> list[bool]:
    """Return for each metric in OVERALL whether p is at most the level of the gate."""
    level, classes = (1 - register.confidence) / 2, int(labels.max()) + 1
    gained = int(((new == labels) & (old != labels)).sum())
    lost = int(((old == labels) & (new != labels)).sum())
    macro = [
        permutation_test(labels, new, old, classes, metric, DRAWS, seed) for metric in OVERALL[1:]
    ]
    return [p <= level for p in (chance(gained, lost), *macro)]


def guarded(labels: Ints, old: Ints, new: Ints, images: Sequence[int], register: Register) -> bool:
    """Return True if harm is excluded for every class."""
    lost = np.bincount(labels[(old == labels) & (new != labels)], minlength=len(images))
    gained = np.bincount(labels[(new == labels) & (old != labels)], minlength=len(images))
    limits = (register.max_recall_drop, register.confidence)
    return not doubts(lost, gained, np.array(images), *limits).any()


def show_histories(register: Register) -> None:
    """Print how often an equally good model is promoted in a year of weekly retraining.

    All models are compared on one test split of 400 images. 15 % of the images are hard: a model is
    wrong on a hard image with probability 0.6, and on an easy image with probability 0.01.
    """
    print("\n| a year of weekly models, all equally good | promoted at least once | promotions |")
    print("|---|---|---|")
    for name, spending in (("the same level each week", False), ("level / (1 + earlier)", True)):
        promotions = np.zeros(HISTORIES)
        for history in range(HISTORIES):
            generator = np.random.default_rng(history)
            wrong = np.where(generator.random(400) < 0.15, 0.6, 0.01)
            champion = generator.random(400) > wrong
            for week in range(WEEKS):
                challenger = generator.random(400) > wrong
                gained, lost = (challenger & ~champion).sum(), (champion & ~challenger).sum()
                level = (1 - register.confidence) / 2 / (1 + week * spending)
                if chance(int(gained), int(lost)) <= level:
                    champion, promotions[history] = challenger, promotions[history] + 1
        print(f"| {name} | {percent(promotions > 0)} | {promotions.mean():.2f} |")


def show_coverage(confidence: float) -> None:
    """Print how often the intervals contain the true value."""
    print("\n| test split | expected errors | accuracy | balanced accuracy | macro F1 |")
    print("|---|---|---|---|---|")
    splits = {
        "10 classes of 27": (27,) * 10,
        "TrashNet": TRASHNET,
        "priors .5 to .02": SKEWED,
        "5 classes of 20": (20,) * 5,
        "10 classes of 200": (200,) * 10,
    }
    shares, low = [], []
    for name, images in splits.items():
        for recall in (0.7, 0.8, 0.9, 0.95, 0.98, 0.99, np.linspace(0.95, 0.6, len(images))):
            errors = float((1 - np.broadcast_to(recall, len(images))) @ images)
            covered = coverage(np.array(images), recall, confidence)
            shares += covered
            shown = f"{name}, {recall:g}" if isinstance(recall, float) else f"{name}, 0.95 to 0.60"
            if min(covered) < 0.93:
                low.append(f"{shown} ({errors:.1f} expected errors)")
            cells = " | ".join(f"{100 * share:.1f}" for share in covered)
            print(f"| {shown} | {errors:.1f} | {cells} |")
    print(f"mean {100 * np.mean(shares):.1f} %; rows with a cell below 93 %: {'; '.join(low)}")


def coverage(
    images: Ints,
    recall: float | Sequence[float],
    confidence: float,
    splits: int = SPLITS,
    resamples: int = RESAMPLES,
) -> list[float]:
    """Return how often the intervals of accuracy, balanced accuracy and macro F1 hold the truth.

    images: int [C], the test images of each class. recall: the true recall of each class, or one
    number for all classes. Wrong images are spread evenly over the other classes.
    """
    generator, classes = np.random.default_rng(0), len(images)
    recalls = np.broadcast_to(recall, classes)
    rows = np.repeat(((1 - recalls) / (classes - 1))[:, np.newaxis], classes, axis=1)
    np.fill_diagonal(rows, recalls)

    def draw(shares: Any, size: tuple[int, ...]) -> Ints:
        drawn = [generator.multinomial(n, shares[..., i, :], size) for i, n in enumerate(images)]
        return np.stack(drawn, axis=-2)

    def scores(counts: Any) -> list[Any]:
        hits, given = np.einsum("...ii->...i", counts), counts.sum(axis=-2)
        return [macro_score(metric, hits, given, images) for metric in OVERALL[1:]]

    truth = scores(rows * images[:, np.newaxis])
    held = np.zeros(2)
    effective = equal_weight_images(images)
    for counts in draw(rows, (splits,)):
        found = []
        on_resamples = scores(draw(counts / images[:, np.newaxis], (resamples,)))
        for value, draws in zip(scores(counts), on_resamples, strict=True):
            found.append(score_interval(float(value), draws, confidence, effective))
        held += [
            interval.low - 1e-9 <= true <= interval.high + 1e-9
            for interval, true in zip(found, truth, strict=True)
        ]
    right = generator.binomial(images, recalls, (SHARES, classes)).sum(axis=1)
    return [share_coverage(right, images, recalls, confidence), *(held / splits)]


def share_coverage(right: Ints, images: Ints, recalls: Any, confidence: float) -> float:
    """Return how often the interval of accuracy holds the truth. right: int, by test split."""
    truth, whole = float(recalls @ images / images.sum()), int(images.sum())
    counts, times = np.unique(right, return_counts=True)
    found = [counted_interval(int(count), whole, confidence) for count in counts]
    return float(times[[f.low <= truth <= f.high for f in found]].sum() / len(right))


def draw_counts(case: Case, pairs: int, generator: np.random.Generator) -> tuple[Ints, Ints]:
    """Return the lost and the gained images of each class: int [pairs, C] each."""
    drawn = [
        generator.multinomial(images, [lost, gained, max(0.0, 1 - lost - gained)], pairs)
        for images, lost, gained, _ in zip(case.images, *case.probabilities(), strict=True)
    ]
    return np.stack([d[:, 0] for d in drawn], axis=1), np.stack([d[:, 1] for d in drawn], axis=1)


def draw_predictions(case: Case, generator: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """Return labels, the champion's and the challenger's predictions: int [N] each."""
    labels = np.repeat(np.arange(len(case.images)), case.images)
    lost, gained, both = (np.array(shares)[labels] for shares in case.probabilities())
    event = generator.random(len(labels))
    old_wrong = (event < both) | ((event >= both + lost) & (event < both + lost + gained))
    new_wrong = event < both + lost
    other = (labels + generator.integers(1, len(case.images), (2, len(labels)))) % len(case.images)
    # Two models that are wrong on the same image mostly agree on the wrong class.
    other[1] = np.where(generator.random(len(labels)) < 0.7, other[0], other[1])
    return labels, np.where(old_wrong, other[0], labels), np.where(new_wrong, other[1], labels)


def percent(found: NDArray[np.bool_]) -> str:
    """Return a share of pairs in percent."""
    return f"{100 * found.mean():.1f}"


if __name__ == "__main__":
    main()
