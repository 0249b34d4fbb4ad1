"""accepted manifest → manifest with a split column; images that belong together share a side.

The side of an image is a function of the seed and its own pixels (or group), of nothing else: a
hash puts it at a place from 0 to 1, and `test`, `val` and `train` are the stretches of that line.
So nothing moves when other images arrive or leave, are renamed or come in another order. Shares
are met within chance, in every class, which is what stratified means here.

One exception: a class that chance leaves without any image on a side. There the set nearest to
that side's stretch is moved in. It is the only case in which an image may move later, back to its
own side, once the class has an image that belongs there.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import partial

import pandas as pd

from components.data.duplicates import clusters
from components.errors import UserError
from components.params import Split

SIDES = ("train", "val", "test")


@dataclass(frozen=True)
class Gap:
    """The share of a side in a class, and the share that was asked for."""

    label: str
    side: str
    images: int
    of: int
    asked: float

    def in_words(self) -> str:
        """Say it in one line."""
        share = self.images / self.of
        return (
            f"class {self.label}, {self.side} {share:.1%} ({self.images} of {self.of}) "
            f"for {self.asked:.1%}"
        )


def assign_splits(accepted: pd.DataFrame, params: Split, seed: int) -> pd.DataFrame:
    """Return `accepted` with a column `split` of train, val or test, in the same order.

    Raises UserError where a class has too few distinct images, or groups, to be on all sides.
    """
    names = clusters(accepted)
    places = {name: _place(seed, name) for name in names.unique()}
    sides = {name: _side(place, params) for name, place in places.items()}
    pairs = pd.DataFrame({"label": accepted["label"], "name": names}).drop_duplicates()
    mixed = set(pairs.loc[pairs["name"].duplicated(), "name"])
    for label, own in pairs.groupby("label")["name"]:
        own_sides = {name: sides[name] for name in own}
        movable = {name: places[name] for name in own if name not in mixed}
        sides |= _moves(str(label), own_sides, movable, params)
    return accepted.assign(split=names.map(sides).astype("str"))


def widest_gap(splits: pd.DataFrame, params: Split) -> Gap:
    """Return the side of a class whose share of images is furthest from the one asked for."""
    asked = {side: end - start for side, (start, end) in _stretches(params).items()}
    counts = splits.groupby("label")["split"].value_counts()
    sizes = splits["label"].value_counts()
    gaps = [
        Gap(str(label), side, int(counts.get((label, side), 0)), int(size), asked[side])
        for label, size in sizes.sort_index().items()
        for side in SIDES
    ]
    return max(gaps, key=lambda gap: abs(gap.images / gap.of - gap.asked))


def _place(seed: int, name: str) -> float:
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _stretches(params: Split) -> dict[str, tuple[float, float]]:
    """Order matters: `test` comes first, so that a new share for val leaves test as it is."""
    held_out = params.test + params.val
    return {"test": (0, params.test), "val": (params.test, held_out), "train": (held_out, 1)}


def _side(place: float, params: Split) -> str:
    return next(
        (side for side, (_, end) in _stretches(params).items() if place < end),
        "train",  # where rounding puts the last end just below 1
    )


def _moves(
    label: str, sides: dict[str, str], places: dict[str, float], params: Split
) -> dict[str, str]:
    """Return which sets of a class go to which side, so that no side is without the class.

    sides: set → side, of all sets with the class. places: set → place, of those that may move,
    which are the sets of this class alone: to move another would empty a side of its other class.
    """
    if len(sides) < len(SIDES):
        raise UserError(
            f"class {label} cannot be on train, val and test; add images, or ask for more with "
            f"validate.images_per_class. Received: {len(sides)} distinct images or groups"
        )
    moves: dict[str, str] = {}
    for side, (start, end) in _stretches(params).items():
        counts = Counter((sides | moves).values())
        if counts[side]:
            continue
        spare = [name for name in places if name not in moves and counts[sides[name]] > 1]
        if not spare:
            raise UserError(
                f"class {label} cannot be on train, val and test, since groups that hold several "
                f"classes are not parted; add images. Received: none that can go to {side}"
            )
        moves[min(spare, key=partial(_nearness, places, start, end))] = side
    return moves


def _nearness(places: dict[str, float], start: float, end: float, name: str) -> tuple[float, str]:
    return max(start - places[name], places[name] - end), name
