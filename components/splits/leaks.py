"""accepted manifest, its splits, links → the images that have a copy in an earlier split.

Here a copy is an image with the same pixels or the same group, or a near copy. The order of the
splits is train, val, test. If two copies are in different splits, the image in the earlier split
stays, and the image in the later split is set aside.

Guarantee: after the listed images are set aside, no two images in different splits are copies. So
no image in train has a copy in test.

Example with three images: a.png and b.png are near copies, and b.png and c.png are near copies. But
a.png and c.png are not near copies.

    image   split   result
    a.png   train   stays
    b.png   val     set aside, because of a.png in train
    c.png   test    set aside, because of b.png in val

Only direct links count, not chains of links, because the two ends of a chain may look quite
different. A chain can also grow until it contains the whole data set.

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

REASONS = {"pixels": "copy", "group": "group", "near": "near_copy"}


def find_leaks(accepted: pd.DataFrame, split: NDArray[np.int8], near: pd.DataFrame) -> pd.DataFrame:
    """Return the images that must be set aside, since a copy of them is in an earlier split.

    accepted: a table with the columns path, pixels_id and group. split: int8 [rows], the split of
    each row as its position in SPLITS. near: the pairs of near copies, from `near_pairs`.

    Returns at most one row for each image and kind of copy. Columns: row (the position of the image
    in `accepted`), kind (pixels, group or near), because_of (the path of the copy), copy_split
    (int8, the split of the copy as its position in SPLITS) and similarity (float64; 1 for the kinds
    pixels and group).
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

    The check shares no code with `assign_splits`, so that a bug there cannot also be in the check.
    The error names the first two copies that are found in different splits or folds. The cause of
    the error is a bug in this program, not a mistake in the data.

    splits: a table with the columns path, pixels_id, group and split; also the column fold, if
    there are folds. links: a table with the columns path, other and kind.
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
                    f"two {column}s share a picture, nothing was written: {sentence}"
                )


def _leaks_by_key(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """Find rows that have the same value in the column `key` as a row in an earlier split.

    key: the name of the column, `pixels` or `group`.
    """
    splits = rows.groupby(key)["split"]
    spread = rows[(splits.transform("min") < splits.transform("max")).to_numpy()]
    return _leak_table(spread, spread[key], _staying(spread, key).assign(similarity=1.0), key)


def _near_leaks(rows: pd.DataFrame, near: pd.DataFrame) -> pd.DataFrame:
    """Find rows with a near copy in an earlier split.

    near: the pairs of near copies, from `near_pairs`. If a row has several near copies, the result
    names the copy in the earliest split. If several of its near copies are in that split, the
    result names the most similar copy.
    """
    ends = rows[rows["pixels"].isin(near["other"])]
    linked = near.join(_staying(ends, "pixels"), on="other").dropna(subset="path")
    order = ["split", "similarity", "path"]
    linked = linked.sort_values(order, ascending=[True, False, True]).drop_duplicates("pixels")
    ends = rows[rows["pixels"].isin(linked["pixels"])]
    return _leak_table(ends, ends["pixels"], linked.set_index("pixels"), "near")


def _staying(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return a table with one row for each value of the column `key`; its index has the values.

    Among the rows with the same value, the row in the earliest split stays. If several rows are in
    that split, the table has the first of these rows by path. Columns: the split and the path of
    the row that stays.
    """
    ordered = rows.sort_values(["split", "path"]).drop_duplicates(key)
    return ordered.set_index(key)[["split", "path"]]


def _leak_table(
    rows: pd.DataFrame, keys: pd.Series, copies: pd.DataFrame, kind: str
) -> pd.DataFrame:
    """List the rows whose copy is in an earlier split.

    keys: the key of each row in `rows`, such as its pixels_id. copies: a table whose index has the
    keys. It has one copy for each key, with the columns split, path and similarity. kind: the kind
    of copy (pixels, group or near).
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

    If several files have the same pixels, near links name only the first of these files by path.
    This file may be in quarantine although an exact copy of it was accepted. In this case the near
    link also holds for the copy.
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
    """Yield a sentence for each pair of copies that are in different places.

    rows: a table with the columns path, pixels_id and group. places: the split or the fold of each
    row. pairs: a tuple for each pair of near copies: the pixels_id of the first image, the
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
