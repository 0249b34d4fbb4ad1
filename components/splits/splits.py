"""accepted manifest, links between copies → a split for every image, without leaks.

Guarantee: two images in different splits are never copies or near copies, and never have the same
group. With one exception (see below), no image changes its split when other images arrive.

How: every image gets a split that no other image can change (placement). The order of the splits is
train, val, test. If two copies are in different splits, the copy in the later split is set aside
(leaks). So no test image of today has a copy in the train split of an earlier month.

The exception: if a class has no image in some split, images of the class are moved there (filling).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.errors import UserError
from components.params.split import SPLITS, Split
from components.splits.filling import Move, move_sets, plan_moves
from components.splits.leaks import find_leaks, leak_reasons
from components.splits.placement import hash_position, names_to_hash, place_images
from components.splits.sets import near_pairs, row_sets


@dataclass(frozen=True)
class Splits:
    """The accepted rows in two tables, each in the order of the accepted manifest.

    rows: the rows with a split. Further columns: `split` (train, val or test) and, if folds are
    asked for, `fold` (Int64 from 0, null in test).
    set_aside: the other rows. Further columns: `reason` (such as near_copy_in_train) and
    `because_of` (the path of the copy).
    moves: the sets of images that were moved to fill empty splits.
    """

    rows: pd.DataFrame
    set_aside: pd.DataFrame
    moves: tuple[Move, ...]


def assign_splits(accepted: pd.DataFrame, links: pd.DataFrame, params: Split, seed: int) -> Splits:
    """Give each accepted row a split, or set it aside; equal arguments give equal splits.

    accepted: columns path, label, group, given_split, pixels_id, and any others. links: columns
    path, other, kind (exact or near), similarity; links of pictures that are not accepted are
    ignored.
    Raises UserError if a class cannot be in every split, or if a fold would be empty.
    """
    near = near_pairs(accepted, links)
    placement = place_images(accepted, params, seed)
    sets = row_sets(accepted, near)
    leaks = find_leaks(accepted, placement.split, near)
    kept = ~np.isin(np.arange(len(accepted)), leaks["row"])
    moves = plan_moves(accepted, placement, sets, kept, params)
    split = move_sets(placement.split, sets, moves)
    if moves:
        leaks = find_leaks(accepted, split, near)
    aside = leaks.drop_duplicates("row").sort_values("row")
    rows = _add_split(accepted, split, aside)
    if params.folds:
        rows = rows.assign(fold=_folds(rows, near, params.folds, seed))
    return Splits(rows, _add_reasons(accepted, aside), tuple(moves))


def given_leaks(
    accepted: pd.DataFrame, links: pd.DataFrame, params: Split, seed: int
) -> pd.DataFrame:
    """Return the images with a given split that have a copy in an earlier split.

    Columns path, given_split, reason, because_of, similarity; one row for each image and kind of
    copy. The table is empty if no split is given, or if `params.given` is `ignore`.
    """
    if params.given == "ignore" or accepted["given_split"].isna().all():
        accepted = accepted[:0]
    split = place_images(accepted, params, seed).split
    leaks = find_leaks(accepted, split, near_pairs(accepted, links))
    # An image of the given train may be hashed into val. If the image leaks there, this is not a
    # leak of the given split.
    as_given = accepted["given_split"].to_numpy() == np.array(SPLITS, dtype=object)[split]
    leaks = leaks[as_given[leaks["row"]]]
    rows = _add_reasons(accepted, leaks).assign(similarity=leaks["similarity"].to_numpy())
    columns = ["path", "given_split", "reason", "because_of", "similarity"]
    return rows[columns].sort_values(["path", "reason"], ignore_index=True)


def check_given(leaks: pd.DataFrame, params: Split, where: object) -> None:
    """Raise UserError if a given split has leaks and `params.given` is `stop`.

    leaks: from `given_leaks`. where: the file with the table of these leaks.
    """
    if params.given != "stop" or leaks.empty:
        return
    first = leaks.iloc[0]
    raise UserError(
        f"the given split leaks: {leaks['path'].nunique()} images have a copy in another split, "
        f"listed in {where}; fix the split that comes with the images, or set split.given to "
        "set_aside, which leaves these images out, or to ignore, which makes a new split. "
        f"Received: {first['path']} ({first['reason'].replace('_', ' ')}: {first['because_of']})"
    )


def _add_split(
    accepted: pd.DataFrame, split: NDArray[np.int8], aside: pd.DataFrame
) -> pd.DataFrame:
    kept = ~np.isin(np.arange(len(accepted)), aside["row"])
    words = np.array(SPLITS, dtype=object)[split[kept]]
    return accepted[kept].assign(split=pd.array(words, dtype="str")).reset_index(drop=True)


def _add_reasons(accepted: pd.DataFrame, leaks: pd.DataFrame) -> pd.DataFrame:
    causes = {
        "reason": leak_reasons(leaks).array,
        "because_of": leaks["because_of"].astype("str").array,
    }
    return accepted.iloc[leaks["row"]].assign(**causes).reset_index(drop=True)


def _folds(rows: pd.DataFrame, near: pd.DataFrame, folds: int, seed: int) -> pd.Series:
    """Return Int64 [rows]: the fold of each row by a hash, null in test; a set has one fold.

    Raises UserError if a fold would be empty.
    """
    outside = rows[rows["split"] != "test"]
    sets = pd.Series(row_sets(outside, near), index=outside.index)
    names = names_to_hash(outside).groupby(sets).transform("min")
    fold = {name: int(hash_position(seed, f"fold {name}") * folds) for name in names.unique()}
    if missing := folds - len(set(fold.values())):
        raise UserError(
            "some folds would be empty, since there are too few images, groups and sets of copies; "
            f"lower split.folds. Received: {folds}, of which {missing} would be empty"
        )
    return names.map(fold).astype("Int64").reindex(rows.index)
