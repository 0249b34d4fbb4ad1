"""accepted manifest, its splits, links → which images have a copy in another split, and which copy.

Guarantee: once the listed images are set aside, no two images in different splits have the same
pixels, have the same group, or are near copies of each other. The image in the earlier split stays
(train before val before test), so what was trained on has no copy in test.

Example: three images, where a and b are near copies, b and c are near copies, a and c are not.

    image   split   result
    a.png   train   stays
    b.png   val     set aside, because of a.png in train
    c.png   test    set aside, because of b.png in val, although b.png is set aside itself

So direct links count, and not chains: the ends of a chain may look nothing like each other, and
chains grow until they hold a whole data set. And c.png depends on the split of b.png, not on what
becomes of b.png: an image that is set aside stays out when others arrive.
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

    split: int8 [rows], positions in SPLITS. near: from `near_pairs`. Columns: row (position in
    `accepted`), kind (pixels, group or near), because_of (path of the copy), copy_split (the split
    of the copy, a position in SPLITS) and similarity. At most one row for each image and kind.
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
    """Return str [rows]: one word for each leak, such as near_copy_in_train.

    >>> leak_reasons(pd.DataFrame({"kind": ["near"], "copy_split": [0]})).tolist()
    ['near_copy_in_train']
    """
    copy_split = leaks["copy_split"].map(dict(enumerate(SPLITS)))
    return (leaks["kind"].map(REASONS) + "_in_" + copy_split).astype("str")


def check_no_leaks(splits: pd.DataFrame, links: pd.DataFrame) -> None:
    """Check a finished split, and its folds if it has any, by a way that shares no code with it.

    splits: columns path, pixels_id, group, split [, fold]. Raises RuntimeError with the first pair
    that leaks; that is a fault of this program, not of the data.
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
    """Find rows that have the pixels or the group of a row in an earlier split."""
    splits = rows.groupby(key)["split"]
    spread = rows[(splits.transform("min") < splits.transform("max")).to_numpy()]
    return _leak_table(spread, spread[key], _staying(spread, key).assign(similarity=1.0), key)


def _near_leaks(rows: pd.DataFrame, near: pd.DataFrame) -> pd.DataFrame:
    """Find rows with a near copy in an earlier split.

    Of several such copies the one in the earliest split is named, and of those the most similar.
    """
    ends = rows[rows["pixels"].isin(near["other"])]
    linked = near.join(_staying(ends, "pixels"), on="other").dropna(subset="path")
    order = ["split", "similarity", "path"]
    linked = linked.sort_values(order, ascending=[True, False, True]).drop_duplicates("pixels")
    ends = rows[rows["pixels"].isin(linked["pixels"])]
    return _leak_table(ends, ends["pixels"], linked.set_index("pixels"), "near")


def _staying(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return key → split and path of the row that stays: in the earliest split, first by path."""
    ordered = rows.sort_values(["split", "path"]).drop_duplicates(key)
    return ordered.set_index(key)[["split", "path"]]


def _leak_table(
    rows: pd.DataFrame, keys: pd.Series, copies: pd.DataFrame, kind: str
) -> pd.DataFrame:
    """List the rows whose copy is in an earlier split.

    copies: key → split, path and similarity; keys: which of them is the copy of each row.
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
    """Return path → pixels, also of files that are not in the split but have exact copies there.

    A near link names the first file of each picture. That file may have been quarantined while a
    copy of it was accepted: the link holds for the copy, too.
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

    pairs: near copies, as pixels of both and paths of both.
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
