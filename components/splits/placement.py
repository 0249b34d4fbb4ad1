"""accepted manifest → a split (train, val or test) for every image, by a hash or as given.

The accepted manifest is the table of the images that passed the stage `validate`, one row for each
image file. The column `group` is empty, or it names the group of the image. All images of a group
belong together, such as all images of one patient. The column `pixels_id` is a hash of the decoded
pixels. A given split is a split that comes with the images, such as the train and test of MNIST.

Guarantee, if no split is given: the split of an image depends only on the seed, on the shares of
val and test, and on the image's group or pixels. So no image changes its split when other images
are added or deleted, when files are renamed, or when the images are listed in another order.

How: each image has a name. The name is the image's group. If the image has no group, the name is
its pixels_id. The seed and the name are hashed to a position, a number from 0 to 1. Each split has
a range of positions: `test` has the lowest positions, `val` follows, and `train` has the highest
positions.

Example: three images without groups, the seed 1, and shares of 0.15 for val and for test.

    image   name       position   range          split
    a.png   pixels a   0.04       0 to 0.15      test
    b.png   pixels b   0.53       0.30 to 1      train
    c.png   pixels c   0.27       0.15 to 0.30   val

A file with the same pixels as a.png gets the same position as a.png. All images of a group have the
same position, which is the hash of the group's name.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.params.split import SPLITS, Split

# The splits in the order of their ranges. The range of test is the first. So the range of test
# stays the same if only the share of val changes.
ON_LINE = SPLITS[::-1]
NO_SPLIT = len(SPLITS)  # stands for "no split"; every index into SPLITS is lower


@dataclass(frozen=True)
class Placement:
    """The split that each row gets at first, and the values from which this split was computed.

    Later the module `leaks` sets images aside, and the module `filling` moves images.

    names: str [rows], the name of each row, from `names_to_hash`. position: float64 [rows], the
    position of each row, from 0 to 1. split: int8 [rows], the split of each row as an index into
    SPLITS. allowed: bool [rows, splits], True if the row may be moved to the split.
    """

    names: pd.Series
    position: NDArray[np.float64]
    split: NDArray[np.int8]
    allowed: NDArray[np.bool_]


def place_images(accepted: pd.DataFrame, params: Split) -> Placement:
    """Return the placement of all rows.

    accepted: a table with the columns group, pixels_id and given_split. If no row has a given
    split, or if `params.given` is `ignore`, the splits of all images are chosen by the hash.
    Otherwise there are three cases:

    - An image with the given split val is in val. An image with the given split test is in test.
    - An image with the given split train is in train if the data set comes with val and test.
      Otherwise the hash chooses between train and the missing splits (val, test or both). For
      example, MNIST comes with train and test only. So the hash puts each of its train images into
      train or val.
    - An image without a given split gets the split of an image that has a given split and the same
      group or the same pixels. If there is no such image, the hash chooses the split.
    """
    names = names_to_hash(accepted)
    row_name, unique = pd.factorize(names)
    hashed_names = [hash_position(params.seed, name) for name in unique]
    position = np.array(hashed_names, dtype=np.float64)[row_name]
    allowed = np.ones((len(accepted), len(SPLITS)), dtype=bool)
    hashed = Placement(names, position, _split_at(position, params), allowed)
    given = pd.Categorical(accepted["given_split"], categories=SPLITS).codes
    if params.given == "ignore" or (given < 0).all():
        return hashed
    return _follow_given(_keep_given(hashed, given, params), given, accepted["pixels_id"])


def names_to_hash(accepted: pd.DataFrame) -> pd.Series:
    """Return str [rows]: for each row, the name that is hashed.

    If the image has a group, the name contains the group, such as `group A`. Otherwise the name
    contains the pixels_id, such as `pixels 1f3…`.
    accepted: a table with the columns group and pixels_id.
    """
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
    """Return split → the start and the end of its range of positions, in the order of ON_LINE.

    >>> ranges(Split(seed=1, val=0.25, test=0.25, given="stop", folds=0))
    {'test': (0, 0.25), 'val': (0.25, 0.5), 'train': (0.5, 1)}
    """
    held_out = params.test + params.val
    return {"test": (0, params.test), "val": (params.test, held_out), "train": (held_out, 1)}


def _split_at(position: NDArray[np.float64], params: Split) -> NDArray[np.int8]:
    ends = [params.test, params.test + params.val]
    range_number = np.searchsorted(ends, position, side="right")
    return np.array([SPLITS.index(split) for split in ON_LINE], dtype=np.int8)[range_number]


def _keep_given(hashed: Placement, given: NDArray[np.int8], params: Split) -> Placement:
    """Return a placement in which images with a given split are in their given split.

    There is one exception. If val or test is not the given split of any row, the hash puts the
    images with the given split train into train or the missing splits (val, test or both).
    hashed: the placement without given splits. given: int8 [rows], the given split of each row as
    an index into SPLITS; -1 if the row has no given split.
    """
    given_to = {SPLITS[code] for code in np.unique(given) if code >= 0}
    # An image with the given split train may get any of these splits.
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
    """Map positions from the range 0 to 1 to the ranges of the open splits.

    position: float64 [rows], positions from 0 to 1. open_splits: the splits that may be used.

    Example: val and test have shares of 0.2, and the data set comes with train and test. So val and
    train are open. The range of test is 0 to 0.2. The ranges of val and train follow, and together
    they have the length 0.8. So a position `p` becomes 0.2 + 0.8 * p.
    """
    by_split = ranges(params)
    position = position * sum(by_split[name][1] - by_split[name][0] for name in open_splits)
    for name in ON_LINE:
        start, end = by_split[name]
        if name not in open_splits:
            position = np.where(position >= start, position + (end - start), position)
    return position


def _follow_given(placement: Placement, given: NDArray[np.int8], pixels: pd.Series) -> Placement:
    """Put each image without a given split into the split of a related image with a given split.

    Images are related if they have the same group or the same pixels.

    given: int8 [rows], the given split of each row as an index into SPLITS; -1 if the row has no
    given split. pixels: str [rows], the pixels_id of each row.

    Images without a group count as one group if they have the same pixels. There are two cases:

    - An image of a group has a given split. Then all images of the group without a given split get
      the split of this image.
    - No image of a group has a given split. If an image outside of the group has a given split and
      the same pixels as an image of the group, all images of the group get its split.

    If several splits are possible, the earliest of them is used (train, then val, then test).
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
    """Return int8 [rows]: for each row, the minimum of the values of all rows with the same key.

    values: int8 [rows], the value of each row. keys: int [rows], the key of each row; the keys are
    the numbers from 0 to the number of keys - 1.
    """
    lowest = np.full(keys.max() + 1, NO_SPLIT, dtype=values.dtype)
    np.minimum.at(lowest, keys, values)
    return lowest[keys]
