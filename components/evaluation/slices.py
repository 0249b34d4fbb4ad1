"""Labels, probabilities, slices → the accuracy of each slice, and which slices are surely weak.

Whoever looks at many slices finds a weak one, even if all are alike. So a slice is called weak only
if a test says so that takes into account how many slices were looked at. If no slice is weaker than
the rest, the probability that any slice is called weak is at most 1 - confidence (family-wise error
rate). A test of this project simulates this.

How:

- A slice is compared with all other images: is its share of mistakes higher? The p-value is that of
  Fisher's exact test, one-sided. A slice with fewer than LEAST images is listed, but not tested.
- A pair of slices (depth 2), such as `dark` and `camera = phone`, is compared with the rest of each
  of its two slices. Its p-value is the higher of the two. So a pair is weak only if neither of its
  slices explains it.
- Half of 1 - confidence is for the single slices, half for the pairs. In each half, Holm's
  correction (1979) holds for tests that depend on each other, as slices do.
- The weakest slice is that of the weak ones whose interval has the lowest upper end. So it is a
  slice that is weak for sure, rather than a tiny one that happens to have only mistakes.

Example: 400 images with 40 mistakes, 30 of them among the 40 dark images. The p-value of `dark` is
below 1e-20, so `dark` is weak. `dark` and `camera = phone` has 15 mistakes among 20 images, as the
rest of `dark` has. So the pair is not weak.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.evaluation.decision import decided_classes
from components.evaluation.interval import Bools, Floats, Interval, Ints, counted_interval
from components.evaluation.scores import count_scores
from components.words import count_text, printable

if TYPE_CHECKING:  # pandas takes a second to start, and `fovea review` reads no table
    import pandas as pd

    from components.evaluation.slice_members import Members

LEAST = 10  # images of a slice that is tested
COLUMNS = (
    "slice", "rule", "images", "accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy",
    "macro_f1", "p_value", "weak",
)  # fmt: skip


@dataclass(frozen=True)
class Slice:
    """How the classifier does on a slice.

    name, rule: see `Members`; the name of a pair is that of both slices, with `and`. images: the
    number of its images. accuracy: with Wilson's interval. balanced_accuracy, macro_f1: over the
    classes that the slice has; None if it has no image. p_value: the probability of a slice like
    this by chance, corrected for all slices; None if the slice was not tested. weak: whether it is
    surely less accurate than the rest.
    """

    name: str
    rule: str
    images: int
    accuracy: Interval
    balanced_accuracy: float | None
    macro_f1: float | None
    p_value: float | None
    weak: bool


@dataclass(frozen=True)
class Slices:
    """All slices, the weak pairs among them, and how many were tested.

    slices: the single slices in the order of their definition, then the weak pairs. tested,
    tested_pairs: the numbers of single slices and of pairs that were tested.
    """

    slices: tuple[Slice, ...]
    tested: int
    tested_pairs: int

    @property
    def weakest(self) -> Slice | None:
        """Return the weakest slice; None if no slice is surely weaker than the rest."""
        weak = [found for found in self.slices if found.weak]
        return min(weak, key=_strength, default=None)

    def in_words(self) -> str:
        """Return the weakest slice in one line."""
        if not self.tested:
            return f"slices: no slice has {LEAST} images or more, so none was tested"
        looked = f"{count_text(self.tested, 'slice')} and {count_text(self.tested_pairs, 'pair')}"
        if self.weakest is None:
            return f"slices: none of {looked} is surely weaker than the rest"
        found = self.weakest
        shown = found.name if found.name == found.rule else f"{found.name} ({found.rule})"
        return (
            f"slices: of {looked}, the weakest is {printable(shown)}: accuracy "
            f"{found.accuracy.value:.3f} on {count_text(found.images, 'image')}"
        )

    def table(self) -> "pd.DataFrame":
        """Return one row for each slice, with the columns COLUMNS."""
        import pandas as pd

        rows = [
            (
                found.name, found.rule, found.images, found.accuracy.value, found.accuracy.low,
                found.accuracy.high, found.balanced_accuracy, found.macro_f1, found.p_value,
                found.weak,
            )
            for found in self.slices
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=list(COLUMNS)).round(6)


def weak_slices(table: "pd.DataFrame") -> tuple[Slice, ...] | None:
    """Return the weak slices of a table that `Slices.table` has made, the weakest first.

    Returns None if no slice was tested. Raises ValueError if the table lacks one of COLUMNS,
    or if a number of a weak slice is none.
    """
    if missing := set(COLUMNS) - set(table):
        raise ValueError(f"the table of slices must have the columns {sorted(missing)}")
    if table["p_value"].isna().all():
        return None
    rows = table[table["weak"].astype(bool)].itertuples(index=False)
    found = [
        Slice(
            str(row.slice),
            str(row.rule),
            int(row.images),
            Interval(float(row.accuracy), float(row.accuracy_low), float(row.accuracy_high)),
            float(row.balanced_accuracy),
            float(row.macro_f1),
            float(row.p_value),
            weak=True,
        )
        for row in rows
    ]
    return tuple(sorted(found, key=_strength))


def _strength(found: Slice) -> float:
    """Return what the weakest of the weak slices has least of."""
    return found.accuracy.high or 0.0


def weakest_slices_first(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return `Slices.table` for MLflow's page, which shows the first four columns.

    The weak slices come first, then those with the lowest accuracy.
    """
    columns = ["slice", "images", "accuracy", "p_value", "weak", *table]
    return table.sort_values(["weak", "accuracy"], ascending=[False, True])[
        [*dict.fromkeys(columns)]
    ]


def measure_slices(
    labels: Ints, probabilities: Floats, members: Sequence["Members"], confidence: float
) -> Slices:
    """Return how the classifier does on each slice, and on each pair that is surely weak.

    labels: int [N], N > 0, class indices. probabilities: float [N, C]. members: the slices, see
    `slice_members`. confidence: the confidence level of the intervals; 1 - confidence is the
    probability of calling any slice weak if none is.
    """
    predicted = decided_classes(probabilities)
    inside = np.array([each.inside for each in members], bool).reshape(len(members), len(labels))
    tests = weakness(predicted != labels, inside)
    singles = [
        (each.name, each.rule, each.inside, p)
        for each, p in zip(members, tests.single, strict=True)
    ]
    weak = np.flatnonzero(tests.pair <= 1 - confidence)
    pairs = [
        (
            f"{members[first].name} and {members[second].name}",
            f"{members[first].rule}, {members[second].rule}",
            inside[first] & inside[second],
            tests.pair[at],
        )
        for at, (first, second) in zip(weak, tests.pairs[weak].tolist(), strict=True)
    ]
    listed = [*singles, *pairs]
    times = np.array([each[2] for each in listed], np.float32).reshape(len(listed), len(labels)).T
    scores = count_scores(labels, predicted, probabilities.shape[1], times)
    right = predicted == labels
    found = [
        Slice(
            name,
            rule,
            int(rows.sum()),
            counted_interval(int(right[rows].sum()), int(rows.sum()), confidence),
            _defined(scores["balanced_accuracy"][at]),
            _defined(scores["macro_f1"][at]),
            _defined(p),
            bool(p <= 1 - confidence),
        )
        for at, (name, rule, rows, p) in enumerate(listed)
    ]
    return Slices(tuple(found), int((~np.isnan(tests.single)).sum()), len(tests.pair))


@dataclass(frozen=True, eq=False)
class Weakness:
    """The tests of S slices, corrected for their number.

    single: float64 [S], p-values of the slices; NaN if a slice was not tested. pairs: int64 [P, 2],
    the positions of the slices of each tested pair. pair: float64 [P], the p-values of the pairs.
    """

    single: Floats
    pairs: NDArray[np.int64]
    pair: Floats


def weakness(wrong: Bools, inside: Bools) -> Weakness:
    """Test which slices and pairs of slices have a higher share of mistakes than the rest.

    wrong: bool [N], True for a mistake. inside: bool [S, N], True for the images of each slice. The
    p-values are corrected for all slices and pairs together: a slice is weak if its p-value is at
    most 1 - confidence.

    >>> wrong = np.arange(100) < 12
    >>> weakness(wrong, np.array([np.arange(100) < 10, np.arange(100) >= 90])).single < 0.05
    array([ True, False])
    """
    images = inside.sum(axis=1)
    mistakes = (inside & wrong).sum(axis=1)
    whole = np.array([len(wrong), wrong.sum()])
    enough = (images >= LEAST) & (images < whole[0])
    both, both_wrong = _overlaps(inside), _overlaps(inside & wrong)
    pairs = np.array(
        [
            (first, second)
            for first, second in combinations(np.flatnonzero(enough).tolist(), 2)
            if LEAST <= both[first, second] < min(images[first], images[second])
        ],
        np.int64,
    ).reshape(-1, 2)
    cells = tuple(pairs.T)
    of_pairs = np.maximum(
        *(_fisher(both_wrong[cells], both[cells], mistakes[part], images[part]) for part in pairs.T)
    )
    halves = 2 if len(pairs) else 1
    single = np.full(len(inside), np.nan)
    single[enough] = _holm(_fisher(mistakes[enough], images[enough], whole[1], whole[0]))
    return Weakness(np.minimum(halves * single, 1), pairs, np.minimum(halves * _holm(of_pairs), 1))


def _overlaps(inside: Bools) -> NDArray[np.int64]:
    """Return the number of images that each two slices have in common: int64 [S, S]."""
    counts = inside.astype(np.float64)
    result: NDArray[np.int64] = (counts @ counts.T).astype(np.int64)
    return result


def _fisher(wrong: Ints, images: Ints, all_wrong: Ints, all_images: Ints) -> Floats:
    """Return the p-values of Fisher's exact test: are mistakes more frequent than in the rest?

    wrong, images: the mistakes and the images of a part. all_wrong, all_images: those of the whole,
    to which the part belongs. All are arrays of the same shape, or numbers.
    """
    from scipy.stats import hypergeom

    result: Floats = np.atleast_1d(hypergeom.sf(wrong - 1, all_images, all_wrong, images))
    return result


def _holm(p_values: Floats) -> Floats:
    """Return p-values with Holm's correction (1979), in the same order.

    >>> _holm(np.array([0.04, 0.01, 0.03]))
    array([0.06, 0.03, 0.06])
    """
    order = np.argsort(p_values, kind="stable")
    left = len(p_values) - np.arange(len(p_values))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * left), 1)
    return corrected


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
