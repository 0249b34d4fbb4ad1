"""Manifest and links between copies → the counts, histograms and lists of report.json.

Long lists are cut, because a page cannot show all their items. For each list that may be cut,
report.json also has the length of the whole list.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from components.validation.measures import ENDS

# The maximum number of sets of copies of one kind in report.json. Also the number of near links
# (links between near copies) with the highest similarity; these links are always in report.json.
LISTED = 100
MEMBERS = 20  # maximum number of images of one set, and of example files for one fault
PICTURES = 5  # maximum number of example images of each class
COMMON = 20  # maximum number of image sizes; the most common sizes are listed

SHARE = np.linspace(0, 1, 21)
SIDE_PX = 2.0 ** np.arange(17)
# Fact → the edges of the bins of its histogram. A fact is a number that describes an image or its
# file. The edges are the same for all data sets, so that two reports can be compared. A value below
# the first edge is counted in the first bin. A value above the last edge is counted in the last
# bin.
EDGES = {
    "width": SIDE_PX,
    "height": SIDE_PX,
    "aspect": 2.0 ** (np.arange(-9, 10, 2) / 4),  # The aspect 1 is in the middle of a bin.
    "bytes": 2.0 ** np.arange(6, 28),
    "brightness": SHARE,
    "brightness_p1": SHARE,
    "brightness_p99": SHARE,
    "contrast": SHARE / 2,
    "saturation": SHARE,
    "entropy": np.linspace(0, 8, 33),
    "sharpness": np.linspace(0, 2.5, 26),
    "border_share": SHARE,
}


def class_examples(accepted: pd.DataFrame) -> dict[str, Any]:
    """Return `class_examples`: class → the paths of at most PICTURES accepted images.

    accepted: the accepted rows of the manifest. The images with the smallest image_id are chosen.
    An image_id is a hash, so neighbours in a folder are not preferred, and most examples stay the
    same when images are added.
    """
    ordered = accepted.sort_values(["image_id", "path"])
    examples = ordered.groupby("label", sort=True)["path"].apply(lambda path: list(path[:PICTURES]))
    return {"class_examples": {str(label): paths for label, paths in examples.items()}}


def overview(manifest: pd.DataFrame) -> dict[str, Any]:
    """Return faults, formats, modes, bit depths, sizes and histograms as plain values for JSON.

    There is one histogram for each fact in EDGES. A histogram is a dict with four keys:

    edges: the n + 1 edges of the bins.
    counts: the number of files in each of the n bins.
    median: the median of the values; None if no file has a value.
    unknown: the number of files without a value.
    """
    decoded = manifest[manifest["pixels_id"].notna()]
    sizes = decoded.groupby(["width", "height"]).size().sort_values(ascending=False, kind="stable")
    return {
        "faults": _faults(manifest),
        "formats": value_counts(decoded["format"]),
        "modes": value_counts(decoded["mode"]),
        "bit_depths": value_counts(decoded["bit_depth"].astype("str")),
        "size_count": len(sizes),
        "sizes": [
            {"width": int(width), "height": int(height), "images": int(images)}
            for (width, height), images in sizes.head(COMMON).items()
        ],
        "facts": {name: _histogram(manifest[name], edges) for name, edges in EDGES.items()},
    }


def copies(table: pd.DataFrame, links: pd.DataFrame) -> dict[str, Any]:
    """Return sets of copies, and links between near copies, as plain values for JSON.

    The result has four lists of sets (and for each list the number of all sets):

    copy_sets: sets of exact copies (images with the same pixels).
    label_conflicts: the sets of exact copies that have several labels.
    near_clusters: sets of near copies (images that look nearly the same).
    near_conflicts: the sets of near copies that have several labels.

    exact_copy_count is the number of files with the same pixels as an earlier file.
    across_splits_count is the number of sets of linked copies that are in several given splits.

    The list near_links has the links between near copies, but not all of them. A link is listed if
    it is among the LISTED links with the highest similarity, or if each of its two images is listed
    in a set of near copies.

    table: the result of `components.validation.measures.add_measures`. links: the result of
    `duplicates.links.find_links`.
    """
    exact = table[table["pixels_id"].duplicated(keep=False) & table["pixels_id"].notna()]
    near = links[links["kind"] == "near"].sort_values("similarity", ascending=False, kind="stable")
    sets = {
        **_sets("label_conflict", table[table["labels_of_pixels"] > 1], "pixels_id"),
        **_sets("copy_set", exact, "pixels_id"),
        **_sets("near_conflict", table[table["labels_of_cluster"] > 1], "cluster"),
        **_sets("near_cluster", table[table["cluster"].notna()], "cluster"),
    }
    near_sets = [*sets["near_conflicts"], *sets["near_clusters"]]
    members = {member["path"] for near_set in near_sets for member in near_set["members"]}
    is_listed = near["path"].isin(members) & near["other"].isin(members)
    is_listed |= np.arange(len(near)) < LISTED
    columns = ["path", "other", "similarity", "degrees", "mirrored"]
    near_links = near.loc[is_listed, columns].to_dict("records")
    return {
        **sets,
        "exact_copy_count": int((links["kind"] == "exact").sum()),
        "across_splits_count": _across_splits(table, links),
        "near_link_count": len(near),
        "near_links": near_links,
    }


def _across_splits(table: pd.DataFrame, links: pd.DataFrame) -> int:
    splits = table.drop_duplicates("path").set_index("path")["given_split"]
    ends = [links[[end, "cluster"]].set_axis(["path", "cluster"], axis=1) for end in ENDS]
    members = pd.concat(ends)
    given = members["path"].map(splits).groupby(members["cluster"]).nunique()
    return int((given > 1).sum())


def value_counts(values: pd.Series, also: Iterable[str] = ()) -> dict[str, int]:
    """Return value → how often the value occurs, sorted by value.

    also: values that are always in the result, with the count 0 if they do not occur.

    >>> value_counts(pd.Series(["dog", "cat", "dog"]), also=["cow"])
    {'cat': 1, 'cow': 0, 'dog': 2}
    """
    counts = values.value_counts().to_dict()
    return {str(value): int(counts.get(value, 0)) for value in sorted({*counts, *also})}


def _sets(name: str, rows: pd.DataFrame, key: str) -> dict[str, Any]:
    """Return the number of sets, and a list of the first LISTED sets.

    A set consists of all rows that have the same value in the column `key`. The sets are in the
    order of their first rows. name: the name of this kind of set. The keys of the result are made
    from the name: for example, `copy_set` gives `copy_set_count` and `copy_sets`.
    """
    sizes = rows.groupby(key, sort=False).size()
    listed = rows[rows[key].isin(sizes.index[:LISTED])]
    groups = listed.groupby(key, sort=False)[["path", "label"]]
    members = [
        {
            "images": len(group),
            "labels": sorted(set(group["label"])),
            "members": group.head(MEMBERS).to_dict("records"),
        }
        for _, group in groups
    ]
    return {f"{name}_count": len(sizes), f"{name}s": members}


def _faults(manifest: pd.DataFrame) -> dict[str, Any]:
    """Return code of a fault → the number of files with this fault, and the first MEMBERS paths."""
    faulty = manifest[manifest["fault"].notna()]
    return {
        str(code): {"files": len(paths), "examples": paths.head(MEMBERS).tolist()}
        for code, paths in faulty.groupby("fault")["path"]
    }


def _histogram(values: pd.Series, edges: Any) -> dict[str, Any]:
    known = values.dropna().to_numpy(float)
    counts, _ = np.histogram(known.clip(edges[0], edges[-1]), edges)
    return {
        "edges": [round(float(edge), 6) for edge in edges],
        "counts": counts.tolist(),
        "median": float(np.median(known)) if len(known) else None,
        "unknown": len(values) - len(known),
    }
