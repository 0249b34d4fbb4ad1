"""accepted manifest, its splits, near copies → the images that have a copy in an earlier split.

Here two images are called copies in three cases: they have the same pixels, they have the same
group (such as images of the same patient), or they are near copies. Near copies look nearly the
same, for example because one image was resized. The order of the splits is train, val, test. If two
copies are in different splits, the copy in the earlier split stays, and the copy in the later split
is set aside, which means that no split contains it. An image that must be set aside is a leak.

Guarantee: after all leaks are set aside, no two images in different splits are copies. So no image
in train has a copy in test.

Example with three images: a.png and b.png are near copies, and b.png and c.png are near copies. But
a.png and c.png are not near copies.

    image   split   result
    a.png   train   stays
    b.png   val     set aside, because of a.png in train
    c.png   test    set aside, because of b.png in val

a.png, b.png and c.png form a chain: each image is a near copy of the next image. Images at the two
ends of a chain are not called copies, because they may look quite different. And if they were
called copies, a chain could grow until the whole data set is one chain.

c.png is set aside although b.png is also set aside. The result for c.png depends on the split of
b.png, but not on the result for b.png. So an image that is set aside today is also set aside after
other images are added.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.params.split import SPLITS

# Kind of copy → the first part of the reason, such as near_copy in `near_copy_in_train`.
REASONS = {"pixels": "copy", "group": "group", "near": "near_copy"}


def find_leaks(accepted: pd.DataFrame, split: NDArray[np.int8], near: pd.DataFrame) -> pd.DataFrame:
    """Return the images that must be set aside, because a copy of the image is in an earlier split.

    accepted: a table with the columns path, pixels_id and group. split: int8 [rows], the split of
    each row as an index into SPLITS. near: the pairs of near copies, from `near_pairs`.

    The kinds of copies are: pixels (same pixels), group (same group) and near (near copy). The
    result is a table with at most one row for each image and kind. Columns: row (the number of the
    image's row in `accepted`, from 0), kind, because_of (the path of the copy), copy_split (int8,
    the split of the copy as an index into SPLITS) and similarity (float64; 1 for the kinds pixels
    and group).
    """
    rows = pd.DataFrame(
        {
            "path": accepted["path"].to_numpy(),
            "pixels": accepted["pixels_id"].to_numpy(),
            "group": accepted["group"].to_numpy(),
            "split": split,
        }
    )
    by_kind = [_leaks_by_key(rows, "pixels"), _leaks_by_key(rows, "group"), _near_leaks(rows, near)]
    return pd.concat(by_kind, ignore_index=True)


def leak_reasons(leaks: pd.DataFrame) -> pd.Series:
    """Return str [leaks]: the reason for each leak, such as near_copy_in_train.

    leaks: a table with the columns kind and copy_split, from `find_leaks`.

    >>> leak_reasons(pd.DataFrame({"kind": ["near"], "copy_split": [0]})).tolist()
    ['near_copy_in_train']
    """
    copy_split = leaks["copy_split"].map(dict(enumerate(SPLITS)))
    return (leaks["kind"].map(REASONS) + "_in_" + copy_split).astype("str")


def check_no_leaks(splits: pd.DataFrame, links: pd.DataFrame) -> None:
    """Raise RuntimeError if two copies are in different splits, or in different folds.

    The check shares no code with `assign_splits`. So if `assign_splits` has a bug, the check does
    not have the same bug. The cause of the error is a bug in Fovea, not a mistake in the data. The
    error names the first two copies that are found in different splits or folds.

    splits: a table with the columns path, pixels_id, group and split; if there are folds, also the
    column fold. links: a table with the columns path, other and kind (exact or near). Each row is a
    pair of copies; path and other are the paths of the two files.
    """
    pixels = _pixels_of_files(splits, links)
    near = links[links["kind"] == "near"]
    pairs = [
        (pixels[path], pixels[other], path, other)
        for path, other in zip(near["path"], near["other"], strict=True)
        if path in pixels and other in pixels
    ]
    for column in ("split", "fold"):
        if column in splits:
            rows = splits[splits[column].notna()]  # images in test have no fold
            sentence = next(_sentences(rows, rows[column], pairs), None)
            if sentence:
                raise RuntimeError(
                    f"copies of an image are in two {column}s, which is a bug in Fovea; nothing "
                    f"was written. Received: {sentence}"
                )


def _leaks_by_key(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """Find the rows that have the same value in the column `key` as a row in an earlier split.

    key: the name of the column, `pixels` or `group`.
    """
    splits = rows.groupby(key)["split"]
    spread = rows[(splits.transform("min") < splits.transform("max")).to_numpy()]
    return _leak_table(spread, spread[key], _staying(spread, key).assign(similarity=1.0), key)


def _near_leaks(rows: pd.DataFrame, near: pd.DataFrame) -> pd.DataFrame:
    """Find the rows that have a near copy in an earlier split.

    near: the pairs of near copies, from `near_pairs`. If a row has several near copies, the result
    names the near copy in the earliest split. If the earliest split contains several near copies of
    the row, the result names the most similar of them.
    """
    ends = rows[rows["pixels"].isin(near["other"])]
    linked = near.join(_staying(ends, "pixels"), on="other").dropna(subset="path")
    order = ["split", "similarity", "path"]
    linked = linked.sort_values(order, ascending=[True, False, True]).drop_duplicates("pixels")
    ends = rows[rows["pixels"].isin(linked["pixels"])]
    return _leak_table(ends, ends["pixels"], linked.set_index("pixels"), "near")


def _staying(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return, for each value of the column `key`, the row with this value in the earliest split.

    If the earliest split contains several rows with the value, the row whose path sorts first is
    taken. The result is a table. Its index has the values, and its columns are split and path.
    """
    ordered = rows.sort_values(["split", "path"]).drop_duplicates(key)
    return ordered.set_index(key)[["split", "path"]]


def _leak_table(
    rows: pd.DataFrame, keys: pd.Series, copies: pd.DataFrame, kind: str
) -> pd.DataFrame:
    """Return a table of the rows whose copy is in an earlier split; `find_leaks` names its columns.

    keys: the key of each row in `rows`, such as its pixels_id. copies: a table with one copy for
    each key. Its index has the keys, and its columns are split, path and similarity. kind: the kind
    of the copies (pixels, group or near).
    """
    copy = copies.reindex(keys)
    leaks = copy["split"].to_numpy() < rows["split"].to_numpy()
    return pd.DataFrame(
        {
            "row": rows.index.to_numpy()[leaks],
            "kind": kind,
            "because_of": copy["path"].to_numpy()[leaks],
            "copy_split": copy["split"].to_numpy()[leaks].astype(np.int8),
            "similarity": copy["similarity"].to_numpy()[leaks].astype(np.float64),
        }
    )


def _pixels_of_files(splits: pd.DataFrame, links: pd.DataFrame) -> dict[str, str]:
    """Return path → pixels_id for files in `splits`, and for files with an exact copy in `splits`.

    An exact copy is a file with the same pixels. If several files have the same pixels, the rows of
    `links` with the kind near name only the file whose path sorts first. This file may be in
    quarantine and therefore missing in `splits`, although an exact copy of it is in `splits`. The
    result also contains such a file, so that its near copies are also checked.
    """
    pixels = dict(zip(splits["path"], splits["pixels_id"], strict=True))
    exact = links[links["kind"] == "exact"]
    for first, other in zip(exact["path"], exact["other"], strict=True):
        if other in pixels:
            pixels.setdefault(first, pixels[other])
    return pixels


def _sentences(
    rows: pd.DataFrame, places: pd.Series, pairs: Iterable[tuple[str, str, str, str]]
) -> Iterator[str]:
    """Yield a sentence for each pair of copies that are in different places (splits or folds).

    rows: a table with the columns path, pixels_id and group. places: the split or the fold of each
    row. pairs: one tuple for each pair of near copies: the pixels_id of the first image, the
    pixels_id of the second image, the path of the first image, the path of the second image.
    """
    for key in ("pixels_id", "group"):
        seen: dict[Any, tuple[str, Any]] = {}
        for name, path, place in zip(rows[key], rows["path"], places, strict=True):
            if isinstance(name, str):  # most images have no group
                first, there = seen.setdefault(name, (path, place))
                if there != place:
                    yield f"{first} ({there}) and {path} ({place}) have the same {key}"
    place_of = dict(zip(rows["pixels_id"], places, strict=True))
    for first_pixels, second_pixels, first, second in pairs:
        there, place = place_of.get(first_pixels), place_of.get(second_pixels)
        if there is not None and place is not None and there != place:
            yield f"{first} ({there}) and {second} ({place}) are near copies"
