"""accepted manifest, placement → moves that put an image of every class into every split.

Guarantee: after the moves every class has an image in train, val and test. If this is impossible, a
UserError says why. Linked images (same pixels, same group, or near copies) form a set, and the
images of a set are moved together. A set is moved only if all its images are of one class. So a
move of one class takes no image of another class out of a split.

Why: a small class may by chance have no image in some split. For example, val and test have shares
of 0.15, and a class has ten images. In 37 of 100 cases this class has no image in val or no image
in test. Near copies are another cause. When they are set aside, a class may lose its last image in
a split.

How: if a class has no image in a split, a set of this class is moved into the split. A set must not
be moved if its own split would lose its last image of the class. Among the sets that may be moved,
the set with the position nearest to the range of the split is moved (the module `placement`
explains positions and ranges). But a set that is too large for the split is moved only if all of
these sets are too large. The splits are filled in the order of their ranges: test, val, train.

Example: a class of three images that are not linked. val and test have shares of 0.15 each. No
image is in val, whose range is 0.15 to 0.30.

    image   position   split   distance to the range of val
    a.png   0.05       test    0.10
    b.png   0.60       train   0.30
    c.png   0.90       train   0.60

a.png is nearest, but it stays, since it is the only image in test. So b.png is moved to val.

Later d.png with position 0.20 is added. Now the class has an image in val without a move. So
nothing is moved, and b.png is in train again. If no split is given (see the module `placement`), an
image changes its split in two cases only: it is moved, or its move in an earlier run is dropped.
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
    """A set of linked images that is moved into a split in which its class has no image.

    label: the class of the images. split: the split to which they are moved. images: the number of
    image files. set: the number of the set, from `row_sets`.
    """

    label: str
    split: str
    images: int
    set: int


@dataclass(frozen=True)
class _Set:
    """A set of linked images, all of one class.

    label: the class. number: the number of the set, from `row_sets`. name: the first of the names
    of its images in sorted order; the names are from `names_to_hash`. images: the number of image
    files. pictures: the number of distinct pixels_id.

    The other fields have one entry for each of SPLITS. kept: the number of images of the set that
    are in the split and not set aside. distance: the distance from the range of the split to the
    nearest position of an image of the set; negative if the position is inside the range. allowed:
    whether all images of the set may be moved into the split.
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
    """Return the moves after which every class has an image in every split.

    sets: int [rows], the number of each row's set, from `row_sets`. kept: bool [rows], False if the
    row is set aside. After a move, all images of the set are in one split. So none of these images
    is set aside any more.
    Raises UserError if a class cannot be in all splits.
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
    """Return the split of each row after the moves: int8 [rows], positions in SPLITS.

    split: int8 [rows], the split of each row before the moves. sets: int [rows], the number of each
    row's set, from `row_sets`.

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
    """Return a table of facts about each row, which `_sets_of_one_class` aggregates by set."""
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
        # The distance is negative inside of the range. So an image that was hashed into this split
        # and then set aside has a smaller distance than all images of other splits.
        rows[f"distance {split}"] = np.maximum(start - placement.position, placement.position - end)
        rows[f"allowed {split}"] = placement.allowed[:, number]
    labels = rows.groupby("set")["label"]
    rows["one class"] = labels.transform("min") == labels.transform("max")
    return rows


def _sets_of_one_class(rows: pd.DataFrame) -> Iterator[_Set]:
    """Yield the sets whose images are all of one class, sorted by label.

    A set may have images of several classes. Such a set is not moved, because another class could
    lose its last image in a split.
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
    """Yield moves until every split has an image of the class.

    label: the class. counts: the number of images of the class in each of SPLITS. sets: the sets
    whose images are all of this class. pictures: the number of distinct pixels_id of the class.
    Raises _NothingLeftError if no set can be moved into an empty split.
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
        # The set stays in `sets` with its new split. It is the only set of its class in this split.
        # So `_can_be_spared` is False for it, and it is not moved a second time.
        sets = [
            replace(candidate, kept=now) if candidate is chosen else candidate for candidate in sets
        ]
        yield Move(label, split, chosen.images, chosen.number)


def _can_be_spared(candidate: _Set, counts: list[int]) -> bool:
    """Return whether no split loses its last image of the class if the set is moved away.

    counts: the number of images of the class in each of SPLITS, including the images of the set.
    """
    return all(
        count == 0 or count > of_set for count, of_set in zip(counts, candidate.kept, strict=True)
    )


def _order(candidate: _Set, number: int, wanted: float) -> tuple[int, float, str]:
    """Return a sort key: the nearest set first, but sets that are too large for the split last.

    number: the position of the split in SPLITS. wanted: the number of pictures that the split
    should have of this class. A set is too large if it has more than `wanted` pictures, for example
    the frames of a long video. Sets that are too large are sorted by how many times `wanted` must
    be doubled to reach their size. This number seldom changes if a set grows by a few images. So
    the choice of the set seldom changes, and images seldom change their split.
    """
    doublings = math.ceil(math.log2(max(candidate.pictures / wanted, 1)))
    return doublings, candidate.distance[number], candidate.name


def _why_not(rows: pd.DataFrame, split: str, params: Split) -> str:
    """Return a message that says why a class cannot be in `split`. rows: the rows of the class."""
    label, names, sets = rows["label"].iloc[0], rows["name"].nunique(), rows["set"].nunique()
    start = f"class {label} cannot be in train, val and test"
    if not rows[f"allowed {split}"].all():  # a given split without an image of the class
        return (
            f"class {label} has no image in the split {split}, which was given; put images of the "
            "class into this split, or set split.given to ignore. "
            f"Received: no image of the class that may be moved to {split}"
        )
    if names < len(SPLITS):  # the class has too few distinct images and groups
        return (
            f"{start}; add images, or raise validate.images_per_class so that the class goes into "
            "quarantine. "
            f"Received: {names} distinct images or groups"
        )
    if sets < len(SPLITS):  # the class has enough images, but links join them into too few sets
        return (
            f"{start}, since near copies and groups are not separated; add other images, or raise "
            "validate.near_duplicates.min_similarity. "
            f"Received: {len(rows)} images; sets of linked images: {sets}"
        )
    return (
        f"{start}, since groups and near copies that hold several classes are not separated; add "
        f"images. Received: no image of the class that may be moved to {split}"
    )
