"""accepted manifest, its splits, links → the images with a copy in an earlier split, and that copy.

Guarantee: after the listed images are set aside, no two images in different splits have the same
pixels or the same group, or are near copies of each other. The order of the splits is train, val,
test. The copy in the earlier split stays, so no image that was trained on has a copy in test.

Example: three images, where a and b are near copies, b and c are near copies, a and c are not.

    image   split   result
    a.png   train   stays
    b.png   val     set aside, because of a.png in train
    c.png   test    set aside, because of b.png in val, although b.png is set aside itself

So only direct links count, not chains of links. The two ends of a chain may look quite different,
and a chain can grow until it contains the whole data set. Also, the result for c.png depends on the
split of b.png, but not on whether b.png is set aside. So an image that is set aside is still set
aside when other images arrive.
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

    accepted: columns path, pixels_id, group. split: int8 [rows], positions in SPLITS. near: from
    `near_pairs`.
    Returns at most one row for each image and kind. Columns: row (position in `accepted`), kind
    (pixels, group or near), because_of (path of the copy), copy_split (int8, the split of the copy,
    a position in SPLITS) and similarity (float64).
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
    """Return str [leaks]: a reason in one word for each leak, such as near_copy_in_train.

    >>> leak_reasons(pd.DataFrame({"kind": ["near"], "copy_split": [0]})).tolist()
    ['near_copy_in_train']
    """
    copy_split = leaks["copy_split"].map(dict(enumerate(SPLITS)))
    return (leaks["kind"].map(REASONS) + "_in_" + copy_split).astype("str")


def check_no_leaks(splits: pd.DataFrame, links: pd.DataFrame) -> None:
    """Check finished splits, and folds if there are any.

    The check shares no code with `assign_splits`.

    splits: columns path, pixels_id, group, split and, if there are folds, fold. links: columns
    path, other, kind. Raises RuntimeError with the first pair that leaks. Such a pair is a bug in
    this program, not a mistake in the data.
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
    """Find rows with the same pixels (or the same group) as a row in an earlier split."""
    splits = rows.groupby(key)["split"]
    spread = rows[(splits.transform("min") < splits.transform("max")).to_numpy()]
    return _leak_table(spread, spread[key], _staying(spread, key).assign(similarity=1.0), key)


def _near_leaks(rows: pd.DataFrame, near: pd.DataFrame) -> pd.DataFrame:
    """Find rows with a near copy in an earlier split.

    If a row has several such copies, the result names the copy in the earliest split. If several
    copies are in that split, it names the most similar of them.
    """
    ends = rows[rows["pixels"].isin(near["other"])]
    linked = near.join(_staying(ends, "pixels"), on="other").dropna(subset="path")
    order = ["split", "similarity", "path"]
    linked = linked.sort_values(order, ascending=[True, False, True]).drop_duplicates("pixels")
    ends = rows[rows["pixels"].isin(linked["pixels"])]
    return _leak_table(ends, ends["pixels"], linked.set_index("pixels"), "near")


def _staying(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return key → split and path of the row that stays: the first by split, then by path."""
    ordered = rows.sort_values(["split", "path"]).drop_duplicates(key)
    return ordered.set_index(key)[["split", "path"]]


def _leak_table(
    rows: pd.DataFrame, keys: pd.Series, copies: pd.DataFrame, kind: str
) -> pd.DataFrame:
    """List the rows whose copy is in an earlier split.

    copies: key → split, path and similarity of a copy. keys: the key of each of `rows`.
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
    """Return path → pixels_id of files in `splits`, and of files with an exact copy in `splits`.

    A near link names the first file of each picture. This file may be in quarantine although an
    exact copy of it was accepted. In this case the near link also holds for the copy.
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
    """Yield a sentence for each leak. places: the split or the fold of each row.

    pairs: near copies, as (pixels_id of the first, pixels_id of the second, path of the first, path
    of the second).
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
