"""accepted manifest, its sides, links → which images have a copy on another side, and of which.

Two images must not be parted by sides if they have the same pixels, the same group, or are near
copies. Direct links count, not chains: the ends of a chain may look nothing like each other, and
chains grow until they hold a data set.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.params.split import SPLITS

REASONS = {"pixels": "copy", "group": "group", "near": "near_copy"}


def crossings(accepted: pd.DataFrame, side: NDArray[np.int8], near: pd.DataFrame) -> pd.DataFrame:
    """Return what must be set aside, since a copy of it is on a side that goes before.

    side: int8 [rows], positions in SPLITS. near: from `near_pairs`. Columns: row (position in
    `accepted`), kind (pixels, group or near), because_of (path of the copy), stays (its side) and
    similarity. One row for each image and kind at most, and whole pictures: all files with the
    same pixels on the same side. What an image hangs on is a copy's side, not what becomes of the
    copy, which may be set aside itself: so an image that is out stays out when others arrive.
    """
    rows = pd.DataFrame(
        {
            "path": accepted["path"].to_numpy(),
            "pixels": accepted["pixels_id"].to_numpy(),
            "group": accepted["group"].to_numpy(),
            "side": side,
        }
    )
    kinds = [_parted(rows, "pixels"), _parted(rows, "group"), _parted_near(rows, near)]
    return pd.concat(kinds, ignore_index=True)


def reasons(crossing: pd.DataFrame) -> pd.Series:
    """Return str [rows]: one word for a crossing, such as near_copy_in_train."""
    stays = crossing["stays"].map(dict(enumerate(SPLITS)))
    return (crossing["kind"].map(REASONS) + "_in_" + stays).astype("str")


def check_no_leaks(splits: pd.DataFrame, links: pd.DataFrame) -> None:
    """Check a finished split, and its folds if it has any, by a way of its own.

    splits: columns path, pixels_id, group, split [, fold]. Raises RuntimeError naming the first
    pair that is parted; that is a fault of this program, not of the data.
    """
    pixels = _pixels_of_files(splits, links)
    near = links[links["kind"] == "near"]
    pairs = [
        (pixels[one], pixels[two], one, two)
        for one, two in zip(near["path"], near["other"], strict=True)
        if one in pixels and two in pixels
    ]
    for column in ("split", "fold"):
        if column in splits:
            inside = splits[splits[column].notna()]
            leak = next(_leaks(inside, inside[column], pairs), None)
            if leak:
                raise RuntimeError(f"two {column}s share a picture, nothing was written: {leak}")


def _parted(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """Find rows that share a key with a row on a side that goes before theirs."""
    sides = rows.groupby(key)["side"]
    spread = rows[(sides.transform("min") < sides.transform("max")).to_numpy()]
    return _found(spread, spread[key], _keepers(spread, key).assign(similarity=1.0), key)


def _parted_near(rows: pd.DataFrame, near: pd.DataFrame) -> pd.DataFrame:
    """Find rows with a near copy on a side before theirs; of several, the first side's closest."""
    ends = rows[rows["pixels"].isin(near["other"])]
    linked = near.join(_keepers(ends, "pixels"), on="other").dropna(subset="path")
    order = ["side", "similarity", "path"]
    linked = linked.sort_values(order, ascending=[True, False, True]).drop_duplicates("pixels")
    ends = rows[rows["pixels"].isin(linked["pixels"])]
    return _found(ends, ends["pixels"], linked.set_index("pixels"), "near")


def _keepers(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return key → side and path of the row that stays: the side that goes before, first path."""
    ordered = rows.sort_values(["side", "path"]).drop_duplicates(key)
    return ordered.set_index(key)[["side", "path"]]


def _found(rows: pd.DataFrame, keys: pd.Series, keepers: pd.DataFrame, kind: str) -> pd.DataFrame:
    keeper = keepers.reindex(keys)
    out = keeper["side"].to_numpy() < rows["side"].to_numpy()
    return pd.DataFrame(
        {
            "row": rows.index.to_numpy()[out],
            "kind": kind,
            "because_of": keeper["path"].to_numpy()[out],
            "stays": keeper["side"].to_numpy()[out].astype(np.int8),
            "similarity": keeper["similarity"].to_numpy()[out].astype(np.float64),
        }
    )


def _pixels_of_files(splits: pd.DataFrame, links: pd.DataFrame) -> dict[str, str]:
    """Map files to pixels, also files that were left out but have exact copies in the split."""
    pixels = dict(zip(splits["path"], splits["pixels_id"], strict=True))
    exact = links[links["kind"] == "exact"]
    for first, other in zip(exact["path"], exact["other"], strict=True):
        if other in pixels:
            pixels.setdefault(first, pixels[other])
    return pixels


def _leaks(
    rows: pd.DataFrame, where: pd.Series, pairs: Iterable[tuple[str, str, str, str]]
) -> Iterator[str]:
    """Yield sentences on rows that are parted; where: the side or fold of each row."""
    for key in ("pixels_id", "group"):
        seen: dict[Any, tuple[str, Any]] = {}
        for name, path, place in zip(rows[key], rows["path"], where, strict=True):
            if isinstance(name, str):
                first, there = seen.setdefault(name, (path, place))
                if there != place:
                    yield f"{first} ({there}) and {path} ({place}) have the same {key}"
    place_of = dict(zip(rows["pixels_id"], where, strict=True))
    for one, two, first, second in pairs:
        there, place = place_of.get(one), place_of.get(two)
        if there is not None and place is not None and there != place:
            yield f"{first} ({there}) and {second} ({place}) are near copies"
