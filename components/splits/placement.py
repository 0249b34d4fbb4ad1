"""accepted manifest → a split for every image, from a hash of its pixels or group, or as given.

Guarantee: if no split is given, the split of an image depends only on the seed and the name that is
hashed. So no image changes its split when other images arrive or leave, when files are renamed, or
when the images come in another order.

How: the seed and a name are hashed to a position from 0 to 1 on a line. `test`, `val` and `train`
are ranges of this line. The name is the image's group, or its pixels_id if it has no group.

Example: three images and seed 1, with val and test of 0.15 each.

    image   name       position   range          split
    a.png   pixels a   0.04       0 to 0.15      test
    b.png   pixels b   0.53       0.30 to 1      train
    c.png   pixels c   0.27       0.15 to 0.30   val

An exact copy of a.png gets the same position as a.png. All images of a group have the same
position, which is the position of the group's name.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.params.split import SPLITS, Split

# The splits in the order of the line. test is first, so a new share of val does not change which
# images are in test.
ON_LINE = SPLITS[::-1]
NO_SPLIT = len(SPLITS)


@dataclass(frozen=True)
class Placement:
    """The split of every image before leaks are set aside and empty splits are filled.

    Each field has one entry per row. A split is a number, its position in SPLITS.

    names: str [rows], the group or the pixels that are hashed. position: float64 [rows], 0 to 1.
    split: int8 [rows]. allowed: bool [rows, splits], True if the row may be moved to the split.
    """

    names: pd.Series
    position: NDArray[np.float64]
    split: NDArray[np.int8]
    allowed: NDArray[np.bool_]


def place_images(accepted: pd.DataFrame, params: Split, seed: int) -> Placement:
    """Return the placement of each row. accepted: columns group, pixels_id, given_split.

    A given split is kept, unless `params.given` is `ignore`:

    - An image with a given split is in that split, except in the next case.
    - If no image was given to val (or to test), the images that were given to train are hashed into
      train and val (or test). For example, MNIST comes with train and test only.
    - An image without a given split follows a given image that has the same group or the same
      pixels. If there is no such image, it is hashed.
    """
    names = names_to_hash(accepted)
    row_name, unique = pd.factorize(names)
    position = np.array([hash_position(seed, name) for name in unique], dtype=np.float64)[row_name]
    allowed = np.ones((len(accepted), len(SPLITS)), dtype=bool)
    hashed = Placement(names, position, _split_at(position, params), allowed)
    given = pd.Categorical(accepted["given_split"], categories=SPLITS).codes
    if params.given == "ignore" or (given < 0).all():
        return hashed
    return _follow_given(_keep_given(hashed, given, params), given, accepted["pixels_id"])


def names_to_hash(accepted: pd.DataFrame) -> pd.Series:
    """Return str [rows]: the name that is hashed, from the group if there is one, or the pixels."""
    group = accepted["group"]
    return ("group " + group).where(group.notna(), "pixels " + accepted["pixels_id"])


def hash_position(seed: int, name: str) -> float:
    """Return a position from 0 to 1 that depends only on the seed and the name.

    >>> round(hash_position(1, "pixels a"), 2)
    0.04
    """
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def ranges(params: Split) -> dict[str, tuple[float, float]]:
    """Return split → where its range starts and ends on the line, in the order of the line.

    >>> ranges(Split(val=0.25, test=0.25, given="stop", folds=0))
    {'test': (0, 0.25), 'val': (0.25, 0.5), 'train': (0.5, 1)}
    """
    held_out = params.test + params.val
    return {"test": (0, params.test), "val": (params.test, held_out), "train": (held_out, 1)}


def _split_at(position: NDArray[np.float64], params: Split) -> NDArray[np.int8]:
    ends = [params.test, params.test + params.val]
    range_number = np.searchsorted(ends, position, side="right")
    return np.array([SPLITS.index(split) for split in ON_LINE], dtype=np.int8)[range_number]


def _keep_given(hashed: Placement, given: NDArray[np.int8], params: Split) -> Placement:
    """Put given images into their split; hash the given train into held-out splits without images.

    given: int8 [rows], the given split of each row, -1 if the row has no given split.
    """
    given_to = {SPLITS[code] for code in np.unique(given) if code >= 0}
    # Images of the given train may go to train and to each held-out split that was not given.
    open_splits = [split for split in SPLITS if split == "train" or split not in given_to]
    from_train, is_given = given == SPLITS.index("train"), given >= 0
    within = _positions_within(hashed.position, open_splits, params)
    position = np.where(from_train, within, hashed.position)
    of_given = np.where(from_train, _split_at(position, params), given)
    split = np.where(is_given, of_given, hashed.split).astype(np.int8)
    allowed = np.repeat(~is_given[:, None], len(SPLITS), axis=1)
    allowed[np.ix_(from_train, [SPLITS.index(name) for name in open_splits])] = True
    return Placement(hashed.names, position, split, allowed)


def _positions_within(
    position: NDArray[np.float64], open_splits: list[str], params: Split
) -> NDArray[np.float64]:
    """Scale positions from the whole line to the ranges of the open splits.

    Example: val and test have shares of 0.2, and test is given. So val and train are open. The line
    is shrunk to their length of 0.8 and then shifted by 0.2, past the range of test.
    """
    by_split = ranges(params)
    position = position * sum(by_split[name][1] - by_split[name][0] for name in open_splits)
    for name in ON_LINE:
        start, end = by_split[name]
        if name not in open_splits:
            position = np.where(position >= start, position + (end - start), position)
    return position


def _follow_given(placement: Placement, given: NDArray[np.int8], pixels: pd.Series) -> Placement:
    """Put an image without a given split into the split of a given image that it belongs to.

    If a group has a given image, the other images of the group follow the given image. If a group
    has no given image, it follows a given image with the same pixels as an image of the group.
    Images without a group count as one group if they have the same pixels. If an image belongs to
    several given images, it follows the one in the earliest split (train, then val, then test).
    """
    of_given = np.where(given >= 0, placement.split, NO_SPLIT)
    by_group, by_pixels = pd.factorize(placement.names)[0], pd.factorize(pixels)[0]
    of_group = _lowest_by_key(of_given, by_group)
    of_copies = _lowest_by_key(_lowest_by_key(of_given, by_pixels), by_group)
    leader = np.where(of_group < NO_SPLIT, of_group, of_copies)
    follows = (given < 0) & (leader < NO_SPLIT)
    split = np.where(follows, leader, placement.split).astype(np.int8)
    return Placement(placement.names, placement.position, split, placement.allowed)


def _lowest_by_key(values: NDArray[np.int8], keys: NDArray[np.intp]) -> NDArray[np.int8]:
    """Return int8 [rows]: for each row, the minimum of the values of all rows with its key."""
    lowest = np.full(keys.max() + 1, NO_SPLIT, dtype=values.dtype)
    np.minimum.at(lowest, keys, values)
    return lowest[keys]
