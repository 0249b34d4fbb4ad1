"""accepted manifest, links between near copies → a split (train, val or test) for every image.

The accepted manifest is the table of the images that passed the stage `validate`, one row for each
image file. Here two images are called copies in three cases: they have the same pixels, they have
the same group (such as images of the same patient), or they are near copies. Near copies look
nearly the same, for example because one image was resized.

Guarantee: two copies are never in different splits. If the images come without a split of their
own, no image changes its split when other images are added, with one exception (step 3).

How:

1. Every image gets a split, which depends on its pixels or its group (module `placement`). If the
   images come with a split (a "given" split), this split is used, except if `split.given` in
   params.yaml is `ignore`.
2. The order of the splits is train, val, test. If two copies are in different splits, the copy in
   the later split is set aside, so no split contains it (module `leaks`). For this reason no image
   in test has a copy in train.
3. If a split contains no image of a class, images of the class are moved into this split (module
   `filling`). When the class grows, these images may move back.
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
from components.words import count_text


@dataclass(frozen=True)
class Splits:
    """The rows of the accepted manifest in two tables, each in the order of the manifest.

    rows: the rows that have a split, with one more column, `split` (train, val or test). If
    `split.folds` in params.yaml is not 0, the column `fold` is added as well (Int64, 0 to
    folds - 1; null if the split is test).
    set_aside: the rows that are set aside, with two more columns: `reason` (such as
    near_copy_in_train) and `because_of` (the path of the copy).
    moves: the sets of images that were moved, because a split contained no image of their class.
    """

    rows: pd.DataFrame
    set_aside: pd.DataFrame
    moves: tuple[Move, ...]


def assign_splits(accepted: pd.DataFrame, links: pd.DataFrame, params: Split) -> Splits:
    """Give each accepted row a split, or set it aside; equal arguments give equal splits.

    accepted: a table with the columns path, label, group, given_split and pixels_id. All other
    columns are kept in the result.
    links: a table with the columns path, other, kind (exact or near) and similarity. Each row is a
    pair of copies; path and other are the paths of the two files.
    params: the section `split` of params.yaml.
    Raises UserError if a class cannot be in every split, or if a fold would be empty.
    """
    near = near_pairs(accepted, links)
    placement = place_images(accepted, params)
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
        rows = rows.assign(fold=_folds(rows, near, params.folds, params.seed))
    return Splits(rows, _add_reasons(accepted, aside), tuple(moves))


def given_leaks(accepted: pd.DataFrame, links: pd.DataFrame, params: Split) -> pd.DataFrame:
    """Return the images with a given split that have a copy in an earlier split.

    The arguments are the same as for `assign_splits`. The result has one row for each image and
    kind of copy (same pixels, same group, near copy). Its columns are path, given_split, reason,
    because_of and similarity. The result has no rows if no image has a given split, or if
    `params.given` is `ignore`.
    """
    if params.given == "ignore" or accepted["given_split"].isna().all():
        accepted = accepted[:0]
    split = place_images(accepted, params).split
    leaks = find_leaks(accepted, split, near_pairs(accepted, links))
    # `place_images` may put an image with the given split train into val or test. If such an image
    # has a copy in an earlier split, the given split is not the cause. So the image is left out.
    as_given = accepted["given_split"].to_numpy() == np.array(SPLITS, dtype=object)[split]
    leaks = leaks[as_given[leaks["row"]]]
    rows = _add_reasons(accepted, leaks).assign(similarity=leaks["similarity"].to_numpy())
    columns = ["path", "given_split", "reason", "because_of", "similarity"]
    return rows[columns].sort_values(["path", "reason"], ignore_index=True)


def check_given(leaks: pd.DataFrame, params: Split, where: object) -> None:
    """Raise UserError if `leaks` has rows and `params.given` is `stop`.

    leaks: the table from `given_leaks`. where: the path of the file to which this table was
    written; the message names this file.
    """
    if params.given != "stop" or leaks.empty:
        return
    first = leaks.iloc[0]
    raise UserError(
        f"the given split leaks: {count_text(leaks['path'].nunique(), 'image has', 'images have')} "
        "a copy in another split "
        f"({where} lists them); correct the split that comes with the images, or set split.given "
        "to set_aside (Fovea leaves these images out) or to ignore (Fovea makes a new split). "
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
    """Return Int64 [rows]: the fold of each row, from 0 to folds - 1; null for rows in test.

    All images of train and val that are linked, directly or through other images of train and val,
    have the same fold (see `row_sets`). The fold of such a set of images is chosen by a hash of the
    seed and a name of the set.

    rows: the rows that have a split, with the column `split`. near: the pairs of near copies, from
    `near_pairs`. folds: the number of folds. Raises UserError if a fold would be empty.
    """
    outside = rows[rows["split"] != "test"]
    sets = pd.Series(row_sets(outside, near), index=outside.index)
    names = names_to_hash(outside).groupby(sets).transform("min")
    fold = {name: int(hash_position(seed, f"fold {name}") * folds) for name in names.unique()}
    if missing := folds - len(set(fold.values())):
        raise UserError(
            "some folds would be empty, since there are too few images, groups and sets of copies; "
            f"lower split.folds. Received: {folds} folds; {missing} of them would be empty"
        )
    return names.map(fold).astype("Int64").reindex(rows.index)
