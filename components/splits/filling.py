"""accepted manifest, placement → moves that put an image of every class into every split.

The placement is the split that each image gets at first (see the module `placement`, which also
explains the words position and range). Two images are directly linked if they have the same pixels,
if they have the same group, or if they are near copies. A set consists of all images that are
linked, directly or through other images (see the module `sets`). An image is set aside (left out of
all splits) if a directly linked image is in an earlier split. The order is train, val, test.

Guarantee: after the moves every class has an image in train, val and test. If this is impossible, a
UserError says why. The images of a set are moved together. A set is moved only if all its images
are of one class. So a move of one class takes no image of another class out of a split.

Why moves are needed: a small class may by chance have no image in some split. For example, val and
test have shares of 0.15, and a class has ten images. In 37 of 100 cases this class has no image in
val or no image in test. A class may also lose its last image in a split because this image is set
aside.

How: if a class has no image in a split, a set of this class is moved into the split. But a set must
stay if its own split would lose its last image of the class. Among the sets that may be moved, the
set whose position is nearest to the range of the split is moved. A set that is too large for the
split is moved only if all sets that may be moved are too large. The splits are filled in the order
of their ranges: test, val, train.

Example: a class has three images, which are not linked. val and test have shares of 0.15 each. No
image is in val, whose range is 0.15 to 0.30.

    image   position   split   distance to the range of val
    a.png   0.05       test    0.10
    b.png   0.60       train   0.30
    c.png   0.90       train   0.60

a.png is nearest, but it stays, since it is the only image in test. So b.png is moved to val.

Later d.png with position 0.20 is added. Now the class has an image in val without a move. So
nothing is moved, and b.png is in train again. If the images do not come with a split of their own,
an image changes its split in two cases only: it is moved in this run, or it was moved in an earlier
run and is not moved in this run.
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

    label: the class of the images. split: the split to which the images are moved. images: the
    number of image files. set: the number of the set, from `row_sets`.
    """

    label: str
    split: str
    images: int
    set: int


@dataclass(frozen=True)
class _Set:
    """A set of linked images, all of one class.

    label: the class. number: the number of the set, from `row_sets`. name: the name of one image of
    the set, from `names_to_hash`: the name that sorts first. images: the number of image files.
    pictures: the number of different pixels_id; files with the same pixels count once.

    Each of the other fields has one entry for each split in SPLITS. kept: the number of images of
    the set that are in the split and not set aside. distance: the distance from the range of the
    split to the nearest position of an image of the set; negative if the position is inside the
    range. allowed: True if all images of the set may be moved into the split.
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

    accepted: a table with the columns label and pixels_id. placement: the result of `place_images`.
    sets: int [rows], the number of each row's set, from `row_sets`. kept: bool [rows], False if the
    row is set aside. params: the section `split` of params.yaml.

    After a move, all images of the set are in one split. So no image of the set is set aside any
    more. Raises UserError if a class cannot be in all splits.
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
    """Return the split of each row after the moves: int8 [rows], indices into SPLITS.

    split: int8 [rows], the split of each row before the moves, as an index into SPLITS. sets: int
    [rows], the number of each row's set, from `row_sets`.

    In the example, the second row is in set 8, and set 8 is moved from train to val:

    >>> move_sets(np.array([0, 0, 2], np.int8), np.array([7, 8, 9]), [Move("cat", "val", 1, set=8)])
    array([0, 1, 2], dtype=int8)
    """
    target = {move.set: SPLITS.index(move.split) for move in moves}
    goes = pd.Series(sets).map(target)
    return np.where(goes.notna(), goes.fillna(0), split).astype(np.int8)


class _NothingLeftError(Exception):
    """A split has no image of the class, and no set can be moved into this split."""

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
        # The distance is negative inside the range. So it is negative for an image that got this
        # split by its hash and was then set aside. For this reason the set of such an image is
        # preferred to sets from other splits.
        rows[f"distance {split}"] = np.maximum(start - placement.position, placement.position - end)
        rows[f"allowed {split}"] = placement.allowed[:, number]
    labels = rows.groupby("set")["label"]
    rows["one class"] = labels.transform("min") == labels.transform("max")
    return rows


def _sets_of_one_class(rows: pd.DataFrame) -> Iterator[_Set]:
    """Yield the sets whose images are all of one class, sorted by label.

    rows: the table from `_facts_of_rows`. A set with images of several classes is left out. It is
    never moved, because another class could lose its last image in a split.
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

    label: the class. counts: the number of images of the class in each split, in the order of
    SPLITS. sets: the sets whose images are all of this class. pictures: the number of different
    pixels_id of the class. Raises _NothingLeftError if a split has no image of the class and no set
    can be moved into this split.
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
        # The moved set stays in `sets`, with its new split. It is now the only set of its class in
        # this split. So `_can_be_spared` returns False for this set, and the set is not moved a
        # second time.
        sets = [
            replace(candidate, kept=now) if candidate is chosen else candidate for candidate in sets
        ]
        yield Move(label, split, chosen.images, chosen.number)


def _can_be_spared(candidate: _Set, counts: list[int]) -> bool:
    """Return True if no split loses its last image of the class when the set is moved.

    counts: the number of images of the class in each split, in the order of SPLITS. The images of
    the set are included.
    """
    return all(
        count == 0 or count > of_set for count, of_set in zip(counts, candidate.kept, strict=True)
    )


def _order(candidate: _Set, number: int, wanted: float) -> tuple[int, float, str]:
    """Return a sort key: the nearest set first, but sets that are too large for the split last.

    number: the index of the split in SPLITS. wanted: the number of pictures of this class that the
    split should have. A set is too large if it has more than `wanted` pictures. An example is a set
    with all frames of a long video.

    Sets that are too large are sorted by how many times `wanted` must be doubled to reach the size
    of the set. They are not sorted by their exact sizes, because the exact size changes with each
    image that is added to a set. So another set would often be chosen, and images would often
    change their split.
    """
    doublings = math.ceil(math.log2(max(candidate.pictures / wanted, 1)))
    return doublings, candidate.distance[number], candidate.name


def _why_not(rows: pd.DataFrame, split: str, params: Split) -> str:
    """Return the error message that says why a class cannot be in `split`.

    rows: the rows of the class in the table from `_facts_of_rows`.
    """
    label, names, sets = rows["label"].iloc[0], rows["name"].nunique(), rows["set"].nunique()
    start = f"class {label} cannot be in train, val and test"
    # The images come with a split, and this split has no image of the class.
    if not rows[f"allowed {split}"].all():
        return (
            f"class {label} has no image in the split {split}, and Fovea moves no image into a "
            "split that comes with the images; put images of the class into this split, or set "
            "split.given to ignore. "
            f"Received: no image of the class that may be moved to {split}"
        )
    # The class has too few images. (A group, and files with the same pixels, count as one image.)
    if names < len(SPLITS):
        return (
            f"{start}; add images, or raise validate.images_per_class.min, so that the class is "
            f"quarantined. Received: {names} distinct images or groups"
        )
    # The class has enough images, but they are linked, so there are too few sets.
    if sets < len(SPLITS):
        return (
            f"{start}, since near copies and groups are not separated; add other images, or raise "
            "validate.near_duplicates.min_similarity. "
            f"Received: {len(rows)} images; sets of linked images: {sets}"
        )
    return (
        f"{start}, since a set of linked images with several classes is not moved; add images of "
        f"the class. Received: no image of the class that may be moved to {split}"
    )
