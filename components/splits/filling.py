"""accepted manifest, placement → moves that put an image of every class into every split.

Guarantee: after the moves every class has an image in train, val and test, or a UserError says why
that cannot be. Linked images (same pixels, same group, near copies) move together, and only images
of one class are moved, so no other class loses an image of a split.

Why: chance leaves a small class without any image in some split. With shares of 0.15 a class of ten
images lacks val or test in 37 of 100 cases. Near copies are set aside, which can empty a split too.

How: an empty split of a class gets the set of linked images whose positions are nearest to the
range of that split; see placement. The empty splits are filled in the order of the line.

Example: a class of three images that are not linked, with val and test of 0.15 each.

    image   position   split   distance to the range of val, 0.15 to 0.30
    a.png   0.05       test    0.10, but it is the only image in test, so it stays
    b.png   0.60       train   0.30: moved to val
    c.png   0.90       train   0.60

When d.png with position 0.20 arrives, val is no longer empty: nothing is moved, and b.png is in
train again. This is the only case in which an image ever changes its split.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.errors import UserError
from components.params.split import SPLITS, Split
from components.splits.placement import ON_LINE, Placement, ranges


@dataclass(frozen=True)
class Move:
    """A set of linked images that is moved, since its class has none in that split.

    set: its number, as in `row_sets`.
    """

    label: str
    split: str
    images: int
    set: int


@dataclass(frozen=True)
class _Set:
    """Linked images, all of one class. Tuples have an entry for each of SPLITS.

    name: the first of the names that are hashed. images: files; pictures: distinct pixels.
    kept: how many of its images are in the split and not set aside. distance: from its nearest
    image to the range of the split. allowed: whether all of it may be moved there.
    """

    label: str
    number: int
    name: str
    images: int
    pictures: int
    kept: tuple[int, ...]
    distance: tuple[float, ...]
    allowed: tuple[bool, ...]


def plan_moves(
    accepted: pd.DataFrame,
    placement: Placement,
    sets: NDArray[np.intp],
    kept: NDArray[np.bool_],
    params: Split,
) -> list[Move]:
    """Return which sets must move, so that no split is without an image of some class.

    sets: int [rows], from `row_sets`. kept: bool [rows], False where a row is set aside; a set that
    is moved has all its images in one split, so none of it is set aside any more.
    Raises UserError where a class cannot be in all splits.
    """
    rows = _facts_of_rows(accepted, placement, sets, kept, params)
    counts = rows.groupby("label")[[f"kept {split}" for split in SPLITS]].sum()
    lacking = counts[(counts == 0).any(axis=1)]
    rows = rows[rows["label"].isin(lacking.index)]
    pictures = rows.groupby("label")["pixels"].nunique()
    by_label = groupby(_sets_of_one_class(rows), lambda candidate: candidate.label)
    candidates = {label: list(of_class) for label, of_class in by_label}
    moves: list[Move] = []
    for label, *in_split in lacking.itertuples():
        try:
            of_class = candidates.get(label, [])
            moves += _fill_empty_splits(label, in_split, of_class, pictures[label], params)
        except _NothingLeftError as error:
            raise UserError(_why_not(rows[rows["label"] == label], error.split, params)) from None
    return moves


def move_sets(
    split: NDArray[np.int8], sets: NDArray[np.intp], moves: list[Move]
) -> NDArray[np.int8]:
    """Return the splits int8 [rows] after the moves.

    >>> move_sets(np.array([0, 0, 2], np.int8), np.array([7, 8, 9]), [Move("cat", "val", 1, set=8)])
    array([0, 1, 2], dtype=int8)
    """
    target = {move.set: SPLITS.index(move.split) for move in moves}
    goes = pd.Series(sets).map(target)
    return np.where(goes.notna(), goes.fillna(0), split).astype(np.int8)


class _NothingLeftError(Exception):
    def __init__(self, split: str) -> None:
        self.split = split


def _facts_of_rows(
    accepted: pd.DataFrame,
    placement: Placement,
    sets: NDArray[np.intp],
    kept: NDArray[np.bool_],
    params: Split,
) -> pd.DataFrame:
    """Gather what is known of each row in columns that can be summed up by set."""
    rows = pd.DataFrame(
        {
            "label": accepted["label"].to_numpy(),
            "name": placement.names.to_numpy(),
            "pixels": accepted["pixels_id"].to_numpy(),
            "set": sets,
        }
    )
    for number, split in enumerate(SPLITS):
        start, end = ranges(params)[split]
        rows[f"kept {split}"] = kept & (placement.split == number)
        # Below 0 inside of the range: an image that belongs there but was set aside comes first.
        rows[f"distance {split}"] = np.maximum(start - placement.position, placement.position - end)
        rows[f"allowed {split}"] = placement.allowed[:, number]
    labels = rows.groupby("set")["label"]
    rows["one class"] = labels.transform("min") == labels.transform("max")
    return rows


def _sets_of_one_class(rows: pd.DataFrame) -> Iterator[_Set]:
    """Yield the sets whose images are all of one class, sorted by label.

    Near copies and groups may hold several classes: to move them would take an image of a split
    from another class.
    """
    sets = rows[rows["one class"]].groupby(["label", "set"])
    columns = {
        "name": ("name", "min"),
        "images": ("name", "size"),
        "pictures": ("pixels", "nunique"),
    }
    for fact, summary in (("kept", "sum"), ("distance", "min"), ("allowed", "all")):
        columns |= {f"{fact} {split}": (f"{fact} {split}", summary) for split in SPLITS}
    width = len(SPLITS)
    for (label, number), name, images, pictures, *rest in sets.agg(**columns).itertuples():
        by_split = [tuple(rest[start : start + width]) for start in range(0, 3 * width, width)]
        yield _Set(label, number, name, images, pictures, *by_split)


def _fill_empty_splits(
    label: str, counts: list[int], sets: list[_Set], pictures: int, params: Split
) -> Iterator[Move]:
    """Yield moves until every split has an image.

    counts: images of the class in each of SPLITS. sets: those that may be moved. pictures: distinct
    pixels of the class.
    """
    for split in ON_LINE:
        number = SPLITS.index(split)
        if counts[number]:
            continue
        spare = [
            candidate
            for candidate in sets
            if candidate.allowed[number] and _can_be_spared(candidate, counts)
        ]
        if not spare:
            raise _NothingLeftError(split)
        start, end = ranges(params)[split]
        chosen = min(spare, key=lambda spared: _order(spared, number, (end - start) * pictures))
        now = tuple(chosen.images if at == number else 0 for at in range(len(SPLITS)))
        counts = [
            count - was + new for count, was, new in zip(counts, chosen.kept, now, strict=True)
        ]
        # Replaced, not removed: where it is now it is the only one, so it cannot be spared again.
        sets = [
            replace(candidate, kept=now) if candidate is chosen else candidate for candidate in sets
        ]
        yield Move(label, split, chosen.images, chosen.number)


def _can_be_spared(candidate: _Set, counts: list[int]) -> bool:
    """Return whether its class has other images in every split that it is in."""
    return all(
        count == 0 or count > of_set for count, of_set in zip(counts, candidate.kept, strict=True)
    )


def _order(candidate: _Set, number: int, wanted: float) -> tuple[int, float, str]:
    """Nearest first, but sets that are far too large for the split (a long video) later.

    wanted: pictures that the split should have. Too large is counted in doublings of that, not in
    pictures: so a set that grows by a few images seldom loses its rank, and images seldom move.
    """
    doublings = math.ceil(math.log2(max(candidate.pictures / wanted, 1)))
    return doublings, candidate.distance[number], candidate.name


def _why_not(rows: pd.DataFrame, split: str, params: Split) -> str:
    """Say why a class cannot be in a split; rows: those of the class."""
    label, names, sets = rows["label"].iloc[0], rows["name"].nunique(), rows["set"].nunique()
    start = f"class {label} cannot be in train, val and test"
    if not rows[f"allowed {split}"].all():  # a given split has none of the class
        return (
            f"class {label} has no image in the split {split}, and a given split is kept; give it "
            f"some there, or set split.given to ignore. Received: none that can go to {split}"
        )
    if names < len(SPLITS):  # too few images, however they are linked
        return (
            f"{start}; add images, or ask for more with validate.images_per_class. "
            f"Received: {names} distinct images or groups"
        )
    if sets < len(SPLITS):  # enough images, but nearly all are copies of each other
        return (
            f"{start}, since near copies and groups are not separated; add other images, or raise "
            f"validate.near_duplicates.min_similarity. Received: {len(rows)} images that are near "
            f"copies of one another or in one group: {sets} distinct in all"
        )
    return (
        f"{start}, since groups and near copies that hold several classes are not separated; add "
        f"images. Received: none that can go to {split}"
    )
