"""accepted manifest, links between copies → a split for every image, without leaks.

Guarantee: no two images in different splits are copies, near copies or of one group; and no image
changes its split when others arrive.

How: every image has a split by itself, which no other image can change (placement). Of copies in
different splits, the ones in the later splits are set aside, in the order train, val, test (leaks).
So whatever the model of an earlier month was trained on, no test image of today has a copy in it.

One exception: a class without any image in some split gets one moved there (filling).
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
    """The accepted rows in two parts, both in the order in which they came.

    rows: with a column `split` of train, val or test; if folds are asked for also `fold`, Int64
    from 0, null in test. set_aside: with columns `reason` (such as near_copy_in_train) and
    `because_of`, the path of the copy. moves: what was moved to fill an empty split.
    """

    rows: pd.DataFrame
    set_aside: pd.DataFrame
    moves: tuple[Move, ...]


def assign_splits(accepted: pd.DataFrame, links: pd.DataFrame, params: Split, seed: int) -> Splits:
    """Give accepted rows their split, or set them aside; a function of pixels, groups and seed.

    accepted: columns path, label, group, given_split, pixels_id, and any others. links: columns
    path, other, kind (exact or near), similarity; links to paths that are not accepted are ignored.
    Raises UserError where a class cannot be in every split.
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
    """Return which images cannot stay in the split they were given to, since they are leaks.

    Columns path, given_split, reason, because_of, similarity; one row for each image and kind of
    copy. Empty where no split is given, or a given one is ignored.
    """
    if params.given == "ignore" or accepted["given_split"].isna().all():
        accepted = accepted[:0]
    split = place_images(accepted, params, seed).split
    leaks = find_leaks(accepted, split, near_pairs(accepted, links))
    # An image of the given train may have been hashed into val: that is not the given split's leak.
    as_given = accepted["given_split"].to_numpy() == np.array(SPLITS, dtype=object)[split]
    leaks = leaks[as_given[leaks["row"]]]
    rows = _add_reasons(accepted, leaks).assign(similarity=leaks["similarity"].to_numpy())
    columns = ["path", "given_split", "reason", "because_of", "similarity"]
    return rows[columns].sort_values(["path", "reason"], ignore_index=True)


def check_given(leaks: pd.DataFrame, params: Split, where: object) -> None:
    """Raise UserError where a given split has leaks and params say to stop; where: their table."""
    if params.given != "stop" or leaks.empty:
        return
    first = leaks.iloc[0]
    raise UserError(
        f"the given split leaks: {leaks['path'].nunique()} images have a copy in another split, "
        f"listed in {where}; fix the split that comes with the images, or change split.given to "
        "set_aside, which leaves them out, or to ignore, which makes a new split. "
        f"Received: {first['path']}, {first['reason'].replace('_', ' ')}, of {first['because_of']}"
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
    """Return Int64 [rows]: a fold for what is not in test, by a hash; sets share a fold."""
    outside = rows[rows["split"] != "test"]
    sets = pd.Series(row_sets(outside, near), index=outside.index)
    names = names_to_hash(outside).groupby(sets).transform("min")
    fold = {name: int(hash_position(seed, f"fold {name}") * folds) for name in names.unique()}
    if missing := folds - len(set(fold.values())):
        raise UserError(
            f"split.folds asks for more folds than there are images, groups and sets of copies to "
            f"fill them; lower it. Received: {folds}, of which {missing} would be empty"
        )
    return names.map(fold).astype("Int64").reindex(rows.index)
