"""accepted manifest, links between copies → splits without leaks: a side for every image but some.

Every image has a side of its own, which no other image can change (see sides). Where copies are on
different sides, the one that is held out is set aside: of train and val the one in val, of train or
val and test the one in test. So no image ever moves, and whatever the model of an earlier month was
trained on, no test image of today had a copy in it.

One exception, for classes that have no image on some side: components.splits.filling.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.errors import UserError
from components.params.split import SPLITS, Split
from components.splits.filling import Move, moved, moves
from components.splits.leaks import crossings, reasons
from components.splits.sets import connected_sets, near_pairs
from components.splits.sides import own_sides, place_of, set_names


@dataclass(frozen=True)
class Splits:
    """The accepted rows in two parts, both in the order in which they came.

    rows: with a column `split` of train, val or test; if folds are asked for also `fold`, Int64
    from 0, null in test. set_aside: with columns `reason` (such as near_copy_in_train) and
    `because_of`, the path of the copy. moves: what was moved to fill a side.
    """

    rows: pd.DataFrame
    set_aside: pd.DataFrame
    moves: tuple[Move, ...]


def assign_splits(accepted: pd.DataFrame, links: pd.DataFrame, params: Split, seed: int) -> Splits:
    """Give accepted rows their side, or set them aside; a function of pixels, groups and seed.

    accepted: columns path, label, group, given_split, pixels_id, and any others. links: columns
    path, other, kind (exact or near), similarity; links to paths that are not accepted are ignored.
    Raises UserError where a class cannot be on every side.
    """
    near = near_pairs(accepted, links)
    own = own_sides(accepted, params, seed)
    sets = connected_sets(accepted, near)
    crossing = crossings(accepted, own.side, near)
    kept = ~np.isin(np.arange(len(accepted)), crossing["row"])
    found = moves(accepted, own, sets, kept, params)
    side = moved(own.side, sets, found)
    if found:
        crossing = crossings(accepted, side, near)
    aside = crossing.drop_duplicates("row").sort_values("row")
    rows = _with_sides(accepted, side, aside)
    if params.folds:
        rows = rows.assign(fold=_folds(rows, near, params.folds, seed))
    return Splits(rows, _with_reasons(accepted, aside), tuple(found))


def given_leaks(
    accepted: pd.DataFrame, links: pd.DataFrame, params: Split, seed: int
) -> pd.DataFrame:
    """Return which images cannot stay on the side they were given to, since it has a leak.

    Columns path, given_split, reason, because_of, similarity; one row for each image and kind of
    copy. Empty where no split is given, or a given one is ignored.
    """
    if params.given == "ignore" or accepted["given_split"].isna().all():
        accepted = accepted[:0]
    side = own_sides(accepted, params, seed).side
    crossing = crossings(accepted, side, near_pairs(accepted, links))
    stays = accepted["given_split"].to_numpy() == np.array(SPLITS, dtype=object)[side]
    leaks = crossing[stays[crossing["row"]]]
    rows = _with_reasons(accepted, leaks).assign(similarity=leaks["similarity"].to_numpy())
    columns = ["path", "given_split", "reason", "because_of", "similarity"]
    return rows[columns].sort_values(["path", "reason"], ignore_index=True)


def check_given(leaks: pd.DataFrame, params: Split, where: object) -> None:
    """Raise UserError where a given split has leaks and params say to stop; where: their table."""
    if params.given != "stop" or leaks.empty:
        return
    first = leaks.iloc[0]
    raise UserError(
        f"the given split leaks: {leaks['path'].nunique()} images have a copy on another side, "
        f"listed in {where}; mend the split that comes with the images, or change split.given to "
        "set_aside, which leaves them out, or to ignore, which splits anew. "
        f"Received: {first['path']}, {first['reason'].replace('_', ' ')}, of {first['because_of']}"
    )


def _with_sides(
    accepted: pd.DataFrame, side: NDArray[np.int8], aside: pd.DataFrame
) -> pd.DataFrame:
    kept = ~np.isin(np.arange(len(accepted)), aside["row"])
    words = np.array(SPLITS, dtype=object)[side[kept]]
    return accepted[kept].assign(split=pd.array(words, dtype="str")).reset_index(drop=True)


def _with_reasons(accepted: pd.DataFrame, crossing: pd.DataFrame) -> pd.DataFrame:
    causes = {
        "reason": reasons(crossing).array,
        "because_of": crossing["because_of"].astype("str").array,
    }
    return accepted.iloc[crossing["row"]].assign(**causes).reset_index(drop=True)


def _folds(rows: pd.DataFrame, near: pd.DataFrame, folds: int, seed: int) -> pd.Series:
    """Return Int64 [rows]: the fold outside of test, by a hash of what hangs together."""
    outside = rows[rows["split"] != "test"]
    sets = pd.Series(connected_sets(outside, near), index=outside.index)
    names = set_names(outside).groupby(sets).transform("min")
    fold = {name: int(place_of(seed, f"fold {name}") * folds) for name in names.unique()}
    if missing := folds - len(set(fold.values())):
        raise UserError(
            f"split.folds asks for more folds than there are images, groups and sets of copies to "
            f"fill them; lower it. Received: {folds}, of which {missing} would be empty"
        )
    return names.map(fold).astype("Int64").reindex(rows.index)
