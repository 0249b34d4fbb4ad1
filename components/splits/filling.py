"""accepted manifest, its sides → sides on which every class has an image; almost always the same.

Chance leaves a small class without any image on some side (one class of ten images in three), and
so do near copies, which are set aside. Then the nearest set of the class is moved there: all that
hangs together, so that nothing is parted, and of this class alone, so that no other class loses a
side. It is the only case in which an image may change sides later, back to its own, once the class
has an image that belongs there.
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
from components.splits.sides import LINE, OwnSides, stretches


@dataclass(frozen=True)
class Move:
    """A set of images that was moved, since its class had none on that side."""

    label: str
    side: str
    images: int
    set: int


@dataclass(frozen=True)
class _Set:
    """What hangs together within one class; entries by position in SPLITS."""

    label: str
    number: int
    name: str
    images: int
    pictures: int
    kept: tuple[int, ...]
    distance: tuple[float, ...]
    free: tuple[bool, ...]


def moves(
    accepted: pd.DataFrame,
    own: OwnSides,
    sets: NDArray[np.intp],
    kept: NDArray[np.bool_],
    params: Split,
) -> list[Move]:
    """Return which sets must go where, so that no side is without an image of some class.

    sets: int [rows], from `connected_sets`. kept: bool [rows], False where a row is set aside; of
    a set that is moved nothing needs to be. Raises UserError where a class cannot be on all sides.
    """
    rows = _rows(accepted, own, sets, kept, params)
    counts = rows.groupby("label")[[f"kept {side}" for side in SPLITS]].sum()
    lacking = counts[(counts == 0).any(axis=1)]
    rows = rows[rows["label"].isin(lacking.index)]
    pictures = rows.groupby("label")["pixels"].nunique()
    own_sets = {label: list(found) for label, found in groupby(_sets(rows), lambda s: s.label)}
    found: list[Move] = []
    for label, *held in lacking.itertuples():
        try:
            found += _filled(label, held, own_sets.get(label, []), pictures[label], params)
        except _NothingLeftError as error:
            own_rows = rows[rows["label"] == label]
            raise UserError(_sentence(own_rows, error.side, params)) from None
    return found


def moved(side: NDArray[np.int8], sets: NDArray[np.intp], found: list[Move]) -> NDArray[np.int8]:
    """Return the sides int8 [rows] after the moves."""
    target = {move.set: SPLITS.index(move.side) for move in found}
    goes = pd.Series(sets).map(target)
    return np.where(goes.notna(), goes.fillna(0), side).astype(np.int8)


class _NothingLeftError(Exception):
    def __init__(self, side: str) -> None:
        self.side = side


def _rows(
    accepted: pd.DataFrame,
    own: OwnSides,
    sets: NDArray[np.intp],
    kept: NDArray[np.bool_],
    params: Split,
) -> pd.DataFrame:
    """Gather what is known of each row in columns that can be summed up by set."""
    rows = pd.DataFrame(
        {
            "label": accepted["label"].to_numpy(),
            "name": own.names.to_numpy(),
            "pixels": accepted["pixels_id"].to_numpy(),
            "set": sets,
        }
    )
    for number, side in enumerate(SPLITS):
        start, end = stretches(params)[side]
        rows[f"kept {side}"] = kept & (own.side == number)
        rows[f"distance {side}"] = np.maximum(start - own.place, own.place - end)
        rows[f"free {side}"] = own.free[:, number]
    labels = rows.groupby("set")["label"]
    rows["alone"] = labels.transform("min") == labels.transform("max")
    return rows


def _sets(rows: pd.DataFrame) -> Iterator[_Set]:
    """Yield the sets that belong to one class alone, by label."""
    sets = rows[rows["alone"]].groupby(["label", "set"])
    columns = {
        "name": ("name", "min"),
        "images": ("name", "size"),
        "pictures": ("pixels", "nunique"),
    }
    for what, how in (("kept", "sum"), ("distance", "min"), ("free", "all")):
        columns |= {f"{what} {side}": (f"{what} {side}", how) for side in SPLITS}
    width = len(SPLITS)
    for (label, number), name, images, pictures, *rest in sets.agg(**columns).itertuples():
        by_side = [tuple(rest[start : start + width]) for start in range(0, 3 * width, width)]
        yield _Set(label, number, name, images, pictures, *by_side)


def _filled(
    label: str, counts: list[int], sets: list[_Set], pictures: int, params: Split
) -> Iterator[Move]:
    """Yield moves until every side has an image; counts: images of the class by side."""
    for side in LINE:
        number = SPLITS.index(side)
        if counts[number]:
            continue
        spare = [each for each in sets if each.free[number] and _can_be_spared(each, counts)]
        if not spare:
            raise _NothingLeftError(side)
        start, end = stretches(params)[side]
        chosen = min(spare, key=lambda each: _order(each, number, (end - start) * pictures))
        now = tuple(chosen.images if at == number else 0 for at in range(len(SPLITS)))
        counts = [
            count - was + new for count, was, new in zip(counts, chosen.kept, now, strict=True)
        ]
        sets = [replace(each, kept=now) if each is chosen else each for each in sets]
        yield Move(label, side, chosen.images, chosen.number)


def _can_be_spared(chosen: _Set, counts: list[int]) -> bool:
    return all(count == 0 or count > own for count, own in zip(counts, chosen.kept, strict=True))


def _order(chosen: _Set, number: int, wanted: float) -> tuple[int, float, str]:
    """Nearest first, but sets that are far too large for the side later.

    Too large is counted in doublings, not in pictures, so that a set that grows seldom loses its
    place to another one.
    """
    doublings = math.ceil(math.log2(max(chosen.pictures / wanted, 1)))
    return doublings, chosen.distance[number], chosen.name


def _sentence(rows: pd.DataFrame, side: str, params: Split) -> str:
    """Say why a class cannot be on a side; rows: those of the class."""
    label, names, sets = rows["label"].iloc[0], rows["name"].nunique(), rows["set"].nunique()
    start = f"class {label} cannot be on train, val and test"
    if not rows[f"free {side}"].all():
        return (
            f"class {label} has no image on the side {side}, and a given split is kept; give it "
            f"some there, or set split.given to ignore. Received: none that can go to {side}"
        )
    if names < len(SPLITS):
        return (
            f"{start}; add images, or ask for more with validate.images_per_class. "
            f"Received: {names} distinct images or groups"
        )
    if sets < len(SPLITS):
        return (
            f"{start}, since near copies and groups are not parted; add other images, or raise "
            f"validate.near_duplicates.min_similarity. Received: {len(rows)} images that are near "
            f"copies of one another or in one group: {sets} distinct in all"
        )
    return (
        f"{start}, since groups and near copies that hold several classes are not parted; add "
        f"images. Received: none that can go to {side}"
    )
