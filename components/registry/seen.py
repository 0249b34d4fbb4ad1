"""All images, their splits, links between copies → the images that a model has seen.

A model has seen an image if it was trained on it (split train) or selected on it (split val). A
test image that a model has seen, or a copy of it, says nothing about the model: the model may know
the answer by heart. Here two images are called copies in three cases: they have the same pixels,
they have the same group (such as images of the same patient), or they are near copies.

Usually no model has seen a test image, because an image keeps its split when other images arrive.
But another `split.seed`, other shares or other given splits move images from train to test, while
the champion stays the same.

Example: version 3 was trained on a.png. Then a.png was deleted, and c.png, a near copy of b.png,
was added. With another `split.seed`, three images are in test:

    image   in the training of version 3             left out of the comparison
    b.png   no, set aside as a near copy of a.png    yes, its copy a.png was
    c.png   no, it arrived later                     no, a near copy of b.png, which was not
    d.png   yes                                      yes

How: for each registered version, a hash of the pixels of each image is kept. A hash has 8 bytes. If
10 million images are compared with 10 million hashes, the chance that one of them is taken for
another image is 1 in 180,000.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.errors import UserError
from components.splits.sets import near_pairs

# A class has enough images for a comparison if it keeps half of its images, or this number. Half of
# the images make an interval 1.4 times as wide, so the verdict is nearly that of all images. With
# 100 images, a recall of 0.9 has an interval of ± 0.06, which can show a drop worth a rejection.
ENOUGH = 100


@dataclass(frozen=True)
class DataSet:
    """All images of the data set as it is now, and the links between copies.

    images: a table with the columns path (each path once), pixels_id, group (or null) and split
    (null if the image is in no split). links: the table of duplicates/links.py.
    """

    images: pd.DataFrame
    links: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Seen:
    """What a model was trained and selected on.

    images: uint64 [K], sorted, a hash of the pixels of each image in train and val. copies: uint64
    [L], sorted, the hashes of other images that were copies of an image in train or val. unknown:
    the names of models whose images belong to this list, but are not known. A model that starts
    from the weights of another model has also seen what the other model has seen.
    """

    images: NDArray[np.uint64]
    copies: NDArray[np.uint64]
    unknown: tuple[str, ...] = ()

    def __or__(self, other: "Seen") -> "Seen":
        """Return what one of the two models has seen, or both."""
        return Seen(
            np.union1d(self.images, other.images),
            np.union1d(self.copies, other.copies),
            tuple(sorted({*self.unknown, *other.unknown})),
        )


@dataclass(frozen=True)
class Unseen:
    """The test images on which models can be compared.

    rows: bool [N], True for the test images that no model has seen. enough: True if the images are
    enough for a comparison. reasons: sentences for the verdict, about the images that were seen and
    about models whose images are not known.
    """

    rows: NDArray[np.bool_]
    enough: bool
    reasons: tuple[str, ...]


def nothing_seen(*unknown: str) -> Seen:
    """Return an empty list of images. unknown: the names of models whose images are not known."""
    return Seen(np.empty(0, np.uint64), np.empty(0, np.uint64), unknown)


def data_set(manifest: pd.DataFrame, splits: pd.DataFrame, links: pd.DataFrame) -> DataSet:
    """Return the images of the manifest that could be decoded, with their splits.

    manifest: all images. splits: the images that are in a split. links: the links between copies.
    """
    split_of = splits.drop_duplicates("path").set_index("path")["split"]
    images = manifest.loc[manifest["pixels_id"].notna(), ["path", "pixels_id", "group"]]
    images = images.drop_duplicates("path", ignore_index=True)
    return DataSet(images.assign(split=images["path"].map(split_of)), links)


def seen_in_training(data: DataSet) -> Seen:
    """Return what a model that is trained on the splits of `data` has seen."""
    hashes = pixel_hashes(data.images["pixels_id"])
    inside = data.images["split"].isin(["train", "val"]).to_numpy()
    copies = _with_copies(data, inside) & ~inside
    return Seen(np.unique(hashes[inside]), np.unique(hashes[copies]))


def unseen_images(test: pd.DataFrame, data: DataSet, models: Sequence[tuple[str, Seen]]) -> Unseen:
    """Return the test images on which the models can be compared.

    test: a table with one row for each of N test images, with the columns path and label_index.
    data: all images. models: the name of each model, such as `version 3`, and what it has seen.
    Raises UserError if an image of `test` is not in the split test of `data`.
    """
    in_test = data.images["split"].eq("test").to_numpy()
    row = pd.Index(data.images["path"]).get_indexer(test["path"])
    if others := int((~(in_test[row] & (row >= 0))).sum()):
        raise UserError(
            "the predictions are of images that are not in the split test; run `dvc repro "
            f"evaluate`. Received: {others} of {len(test)} images"
        )
    seen_by = {name: seen_rows(data, seen)[row] for name, seen in models}
    left = ~np.any(list(seen_by.values()), axis=0)
    enough = _enough_images(test["label_index"].to_numpy(np.int64), left)
    reasons = [*_overlap(seen_by, enough), *_unknown([seen for _, seen in models])]
    return Unseen(left, enough, tuple(reasons))


def seen_rows(data: DataSet, seen: Seen) -> NDArray[np.bool_]:
    """Return bool [images]: True if the model has seen the image or a copy of it."""
    hashes = pixel_hashes(data.images["pixels_id"])
    return _with_copies(data, np.isin(hashes, seen.images)) | np.isin(hashes, seen.copies)


def pixel_hashes(pixels_ids: pd.Series) -> NDArray[np.uint64]:
    """Return uint64 [N]: the first 8 bytes of each sha256.

    >>> pixel_hashes(pd.Series(["00000000000000ff" + 48 * "a"])).tolist()
    [255]
    """
    return np.array([int(text[:16], 16) for text in pixels_ids], dtype=np.uint64)


def write_seen(path: Path, seen: Seen) -> None:
    """Write a list to a Parquet file; equal lists give equal bytes with the same pyarrow.

    Only the differences of the sorted hashes are stored: 100,000 images need 0.63 MB.
    """
    hashes = np.concatenate([seen.images, seen.copies])
    table = pd.DataFrame({"pixels": hashes, "copy": np.arange(len(hashes)) >= len(seen.images)})
    table.attrs = {"unknown": list(seen.unknown)}
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(
        path,
        index=False,
        compression="zstd",
        use_dictionary=False,
        column_encoding={"pixels": "DELTA_BINARY_PACKED"},
    )


def read_seen(path: Path) -> Seen:
    """Read a list that `write_seen` wrote."""
    table = pd.read_parquet(path)
    pixels, copy = table["pixels"].to_numpy(np.uint64), table["copy"].to_numpy(np.bool_)
    return Seen(pixels[~copy], pixels[copy], tuple(table.attrs["unknown"]))


def _with_copies(data: DataSet, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return bool [images]: True if the image is chosen, or is a copy of a chosen image.

    Only direct copies count, as in the stage `split`: a copy of a copy may look quite different.
    """
    images, near = data.images, near_pairs(data.images, data.links)
    pixels = images.loc[chosen, "pixels_id"].unique()
    copies = near.loc[near["pixels"].isin(pixels), "other"]
    groups = images.loc[chosen, "group"].dropna().unique()
    found: NDArray[np.bool_] = (
        images["pixels_id"].isin([*pixels, *copies]) | images["group"].isin(groups)
    ).to_numpy()
    return found


def _enough_images(labels: NDArray[np.int64], left: NDArray[np.bool_]) -> bool:
    """Return True if every class keeps half of its test images, or ENOUGH of them."""
    images = np.bincount(labels)
    kept = np.bincount(labels[left], minlength=len(images))
    return bool((kept >= np.minimum(images / 2, ENOUGH)).all())


def _overlap(seen_by: dict[str, NDArray[np.bool_]], enough: bool) -> list[str]:
    shares = [
        f"{_percent(seen.mean())} of the test images ({seen.sum()} of {len(seen)}) were in the "
        f"training of {name}, or are copies of such images"
        for name, seen in seen_by.items()
        if seen.any()
    ]
    end = "they are left out of the comparison" if enough else "too few images are left to compare"
    return [f"{'; '.join(shares)}: {end}"] if shares else []


def _unknown(lists: Sequence[Seen]) -> list[str]:
    names = sorted({name for seen in lists for name in seen.unknown})
    text = f"not known what {' and '.join(names)} was trained on: test images may be among them"
    return [text] if names else []


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1g} %"
