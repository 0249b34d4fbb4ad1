"""accepted manifest → the side that every image has by itself: by hash, or as it was given.

A hash of the seed and the image's own name puts it at a place from 0 to 1; `test`, `val` and
`train` are the stretches of that line. The name is the group's, or else the pixels', so no other
image has a say, and nothing moves when others arrive or leave, are renamed or reordered.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.params.split import SPLITS, Split

LINE = ("test", "val", "train")  # test first, so that a new share for val leaves it as it is
NONE = len(SPLITS)


@dataclass(frozen=True)
class OwnSides:
    """One entry a row; sides are positions in SPLITS.

    names: str [rows], the group or pixels that are hashed. place: float64 [rows] from 0 to 1.
    side: int8 [rows]. free: bool [rows, sides], True where the row could as well be on that side.
    """

    names: pd.Series
    place: NDArray[np.float64]
    side: NDArray[np.int8]
    free: NDArray[np.bool_]


def own_sides(accepted: pd.DataFrame, params: Split, seed: int) -> OwnSides:
    """Return where each row belongs, whatever other rows do: columns group, pixels_id, given_split.

    Given sides are kept, unless `params.given` says to ignore them. A held-out side that no image
    was given to is hashed out of the given train. Images that were given no side are hashed, or
    follow a given image of their group or with their pixels.
    """
    names = set_names(accepted)
    position, unique = pd.factorize(names)
    place = np.array([place_of(seed, name) for name in unique], dtype=np.float64)[position]
    free = np.ones((len(accepted), len(SPLITS)), dtype=bool)
    hashed = OwnSides(names, place, _sides(place, params), free)
    given = pd.Categorical(accepted["given_split"], categories=SPLITS).codes
    if params.given == "ignore" or (given < 0).all():
        return hashed
    return _followed(_kept(hashed, given, params), given, accepted["pixels_id"])


def set_names(accepted: pd.DataFrame) -> pd.Series:
    """Return str [rows]: what each row is hashed by, its group or else its pixels."""
    group = accepted["group"]
    return ("group " + group).where(group.notna(), "pixels " + accepted["pixels_id"])


def place_of(seed: int, name: str) -> float:
    """Return a place from 0 to 1 that depends on nothing but the seed and the name."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def stretches(params: Split) -> dict[str, tuple[float, float]]:
    """Return side → where it starts and ends on the line, in the order of LINE."""
    held_out = params.test + params.val
    return {"test": (0, params.test), "val": (params.test, held_out), "train": (held_out, 1)}


def _sides(place: NDArray[np.float64], params: Split) -> NDArray[np.int8]:
    ends = [params.test, params.test + params.val]
    on_line = np.searchsorted(ends, place, side="right")
    return np.array([SPLITS.index(side) for side in LINE], dtype=np.int8)[on_line]


def _kept(hashed: OwnSides, given: NDArray[np.int8], params: Split) -> OwnSides:
    """Put the given images where they were given, and hash what nobody gave out of train."""
    given_to = {SPLITS[code] for code in np.unique(given) if code >= 0}
    opened = [side for side in SPLITS if side == "train" or side not in given_to]
    from_train, stated = given == SPLITS.index("train"), given >= 0
    place = np.where(from_train, _place_within(hashed.place, opened, params), hashed.place)
    rehashed = np.where(from_train, _sides(place, params), given)
    side = np.where(stated, rehashed, hashed.side).astype(np.int8)
    free = np.repeat(~stated[:, None], len(SPLITS), axis=1)
    free[np.ix_(from_train, [SPLITS.index(name) for name in opened])] = True
    return OwnSides(hashed.names, place, side, free)


def _place_within(
    place: NDArray[np.float64], opened: list[str], params: Split
) -> NDArray[np.float64]:
    """Move places from the whole line onto the stretches of the opened sides, in proportion."""
    ends = stretches(params)
    place = place * sum(ends[name][1] - ends[name][0] for name in opened)
    for name in LINE:
        start, end = ends[name]
        if name not in opened:
            place = np.where(place >= start, place + (end - start), place)
    return place


def _followed(own: OwnSides, given: NDArray[np.int8], pixels: pd.Series) -> OwnSides:
    """Let images that were given no side follow the given ones that they belong with.

    First those of their group; where none of it was given, those with the pixels of one of it.
    """
    stated = np.where(given >= 0, own.side, NONE)
    by_set, by_pixels = pd.factorize(own.names)[0], pd.factorize(pixels)[0]
    of_set = _lowest(stated, by_set)
    of_copies = _lowest(_lowest(stated, by_pixels), by_set)
    leader = np.where(of_set < NONE, of_set, of_copies)
    follows = (given < 0) & (leader < NONE)
    side = np.where(follows, leader, own.side).astype(np.int8)
    return OwnSides(own.names, own.place, side, own.free)


def _lowest(values: NDArray[np.int8], keys: NDArray[np.intp]) -> NDArray[np.int8]:
    """Return for every row the least value among the rows with its key."""
    lowest = np.full(keys.max() + 1, NONE, dtype=values.dtype)
    np.minimum.at(lowest, keys, values)
    return lowest[keys]
