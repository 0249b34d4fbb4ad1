"""Facts about challenger and champion → the sentences of a verdict.

A sentence has one fact. It begins with a small letter, and has no full stop at its end, because the
commands put sentences together.

With thousands of classes, thousands of them can break a rule. The sentences name the worst
CLASSES_SHOWN of them, and say how many more there are; the comparison in verdict.json has all.
"""

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np

from components.evaluation.comparison import Comparison, Pair, title
from components.evaluation.guards import Change
from components.evaluation.interval import Floats, Ints
from components.words import count_text, name_list

NOTHING_SHARED = "no test image has a class that both models know, so nothing is compared"
CLASSES_SHOWN = 10  # the most classes that get a sentence of their own
SMALLEST_P = 0.0001


def not_finite(whose: str, probabilities: Floats) -> list[str]:
    """Return a sentence if a probability is NaN or infinite. probabilities: float [N, C]."""
    broken = int((~np.isfinite(probabilities)).any(axis=1).sum())
    images = len(probabilities)
    text = f"the {whose}'s probabilities are NaN or infinite for {broken} of {images} test images"
    return [text] if broken else []


def changed_classes(pair: Pair) -> list[str]:
    """Return sentences if the two models do not know the same classes."""
    words = {"new": pair.added, "gone": pair.gone}
    parts = [f"{word}: {name_list(names)}" for word, names in words.items() if names]
    if not parts:
        return []
    compared = f"{len(pair.labels)} test images of the {len(pair.shared)} classes that both know"
    texts = [f"the classes changed ({'; '.join(parts)}), so the models are compared on {compared}"]
    either_right = (pair.champion == pair.labels) | (pair.challenger == pair.labels)
    if (pair.no_gain & either_right).any():  # Otherwise the rule changes nothing.
        texts.append(
            f"the champion gives {int(pair.no_gain.sum())} of these images to a class that is "
            "gone; they can be lost, but they are no gain"
        )
    return texts


def without_images(labels: Ints, class_names: Sequence[str]) -> list[str]:
    """Return a sentence if a class has no test image. labels: int [N], class indices."""
    support = np.bincount(labels, minlength=len(class_names))
    names = [name for name, images in zip(class_names, support, strict=True) if not images]
    text = f"no test image of {name_list(names)}, so the floor for the recall cannot be checked"
    return [text] if names else []


def significant(word: str, row: Comparison, confidence: float, p: float) -> str:
    """Return that the challenger is significantly better or worse. row: the primary metric."""
    return f"significantly {word} than the champion: {_figures(row, confidence)}, {_chance(p)}"


def no_difference(row: Comparison, confidence: float, p: float, level: float) -> str:
    """Return that no model is significantly better. p: of the challenger's advantage."""
    same = row.difference is not None and row.difference.value == 0
    if same and row.champion == row.challenger:
        figures = f"{row.title} {row.challenger.value:.3f}, exactly as the champion"
    else:
        figures = f"{_figures(row, confidence)}, {_chance(p)}, needed {level:.2g}"
    return f"no significant difference from the champion: {figures}"


def account(earlier: int, level: float | None) -> list[str]:
    """Return how many other models were compared on the test split before, if there were any.

    level: the largest p that promotes; None if the decision does not depend on p.
    """
    if not earlier:
        return []
    times = "1 comparison" if earlier == 1 else f"{earlier} comparisons"
    needed = "" if level is None else f", so p must be at most {level:.2g}"
    return [f"{times} on this test split before this one{needed}"]


def below_floor(recalls: Mapping[str, float], floor: float) -> list[str]:
    """Return the recalls below their floor, the lowest first. recalls: class → recall, or NaN."""
    low = below({title("recall", name): recall for name, recall in recalls.items()}, floor)
    return [*low[:CLASSES_SHOWN], *_more("the recall is below its floor", len(low))]


def below(scores: Mapping[str, float], floor: float) -> list[str]:
    """Return the scores below their floor, the lowest first. scores: title → score, or NaN."""
    # A rounding error in the 16th digit could decide, so the scores are rounded. NaN is not below.
    low = [(score, what) for what, score in scores.items() if round(score, 12) < floor]
    low.sort(key=lambda pair: pair[0])
    return [f"{what} {score:.3f} is below its floor of {floor:g}" for score, what in low]


def harms(changes: Sequence[Change]) -> list[str]:
    """Return the groups whose drop is certainly above the limit, the largest drop first."""
    harmed = sorted((each for each in changes if each.harmed), key=lambda each: -each.lowest)
    texts = [
        f"{change.name} dropped by significantly more than {change.limit:g}: {_counts(change)}, "
        f"so a drop below {change.lowest:.3f} is excluded"
        for change in harmed[:CLASSES_SHOWN]
    ]
    return [*texts, *_more("the recall dropped as significantly", len(harmed))]


def possible_harms(changes: Sequence[Change]) -> list[str]:
    """Return what groups lost, and which drops are excluded, the largest possible drop first."""
    widest = sorted(changes, key=lambda each: -each.highest)[:CLASSES_SHOWN]
    texts = [
        text
        for change in widest
        for text in (f"{change.name} dropped: {_counts(change)}", _excluded(change))
    ]
    return [*texts, *_more("the recall may have dropped too much", len(changes))]


def excluded_drops(changes: Sequence[Change]) -> list[str]:
    """Return which drop is excluded for each group, if this drop is above the limit."""
    wide = sorted(
        (change for change in changes if change.highest > change.limit),
        key=lambda change: -change.highest,
    )
    if not wide:
        return [f"a drop of the recall above {changes[0].limit:g} is excluded for every class"]
    texts = [_excluded(change) for change in wide[:CLASSES_SHOWN]]
    if hidden := wide[CLASSES_SHOWN:]:
        more = "one more class" if len(hidden) == 1 else f"each of {len(hidden)} more classes"
        texts.append(f"for {more}, a drop above {_up(hidden[0].highest)} is excluded")
    return texts


def all_floors_hold(rows: Sequence[Comparison]) -> str:
    """Return that there is no champion, and the values that were compared with the floors."""
    overall = ", ".join(
        f"{row.title} {row.challenger.value:.3f}" for row in rows if row.class_name is None
    )
    recalls = [row for row in rows if row.class_name is not None]
    lowest = min(recalls, key=lambda row: row.challenger.value or 0)
    return (
        f"there is no champion, and every value reaches its floor: {overall}, "
        f"lowest recall {lowest.challenger.value:.3f} (class {lowest.class_name})"
    )


def _more(what: str, classes: int) -> list[str]:
    """Return a sentence about the classes that get none of their own, if there are any."""
    hidden = classes - CLASSES_SHOWN
    if hidden <= 0:
        return []
    return [f"{what} for {count_text(hidden, 'more class', 'more classes')}; verdict.json has all"]


def _counts(change: Change) -> str:
    return f"{change.lost} of {change.images} images lost, {change.gained} gained"


def _excluded(change: Change) -> str:
    """Return which drop of a group is excluded, and how many images would exclude the limit.

    Example: `recall of trash: a drop above 0.14 is excluded, with 25 images; about 73 images would
    exclude a drop above 0.05`.
    """
    images = "1 image" if change.images == 1 else f"{change.images} images"
    text = f"{change.name}: a drop above {_up(change.highest)} is excluded, with {images}"
    needed = change.needed
    if needed is None:
        return text
    return f"{text}; about {needed} images would exclude a drop above {change.limit:g}"


def _up(share: float) -> str:
    """Return a share with two decimals, rounded up, so that a drop above it is excluded.

    >>> _up(0.133)
    '0.14'
    """
    return f"{ceil(round(100 * share, 6)) / 100:.2f}"


def _chance(p: float) -> str:
    return f"p below {SMALLEST_P:g}" if p < SMALLEST_P else f"p {p:.2g}"


def _figures(row: Comparison, confidence: float) -> str:
    """Return a comparison in words: the values of the two models, the difference, its interval.

    Example: `accuracy 0.912 against 0.874, +0.038 (95 % interval +0.011 to +0.065)`.
    """
    # A primary metric that is compared has a champion and a difference.
    assert row.champion is not None and row.difference is not None
    low, difference, high = (
        f"{value:+.3f}".replace("-", "−")
        for value in (row.difference.low, row.difference.value, row.difference.high)
    )
    return (
        f"{row.title} {row.challenger.value:.3f} against {row.champion.value:.3f}, "
        f"{difference} ({100 * confidence:g} % interval {low} to {high})"
    )
