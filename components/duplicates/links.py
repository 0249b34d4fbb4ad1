"""manifest → links between exact copies and between near copies, and the clusters that they form.

Guarantee: images with the same decoded pixels (`pixels_id`) are always in one cluster, even if
their files differ in name, format or metadata. Near copies are images whose fingerprints correlate;
see images.fingerprints. Hashing proposes pairs of images. A pair is linked if its correlation is at
least `min_similarity`, or more if the images are small.

Example with three images: b.jpg has the pixels of a.png. c.jpg is a smaller, turned copy of a.png.

    path    other   kind    similarity   degrees   mirrored   cluster
    a.png   b.jpg   exact   1.00         0         no         0
    a.png   c.jpg   near    0.97         90        no         0

There is no link from b.jpg to c.jpg: if files have the same pixels, only the first by path has near
links.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.duplicates.connected import connected_sets
from components.duplicates.hashing import candidate_pairs
from components.images.fingerprints import GRID, compare, spectra, stack
from components.params.validate import NearDuplicates

LINK_COLUMNS = {
    "path": "str",
    "other": "str",
    "kind": "str",
    "similarity": "float64",
    "degrees": "float64",
    "mirrored": "bool",
    "cluster": "int64",
}
PAIRS_AT_ONCE = 8192  # maximum number of pairs that are compared at a time; bounds the memory
ENOUGH = 32  # two images that both have this many near copies are not compared with each other


def find_links(manifest: pd.DataFrame, params: NearDuplicates) -> pd.DataFrame:
    """Return one row per link, sorted by path and other, with the columns of LINK_COLUMNS.

    If n files have the same pixels, the first file by path has n - 1 exact links, one to each of
    the other files. Near links are only between such first files. degrees and mirrored: how `other`
    is turned and mirrored relative to `path`. cluster: the number of the cluster, which is a set of
    images that are linked directly or through other images. Clusters are numbered from 0 in the
    order of their first paths.
    """
    images = manifest[manifest["pixels_id"].notna()].sort_values("path", kind="stable")
    copies = images["pixels_id"].duplicated()
    links = [_exact_links(images), _near_links(images[~copies], params)]
    table = pd.concat(links, ignore_index=True).sort_values(["path", "other"], kind="stable")
    table["cluster"] = _cluster_numbers(clusters(table["path"], table["other"]), table)
    return table.astype(LINK_COLUMNS).reset_index(drop=True)


def clusters(first: pd.Series, second: pd.Series) -> pd.Series:
    """Return name → the first name, in sorted order, of its cluster.

    A cluster is a set of names that are linked directly or through other names.
    first, second: str [links], the two names of each link.

    >>> clusters(pd.Series(["a", "c", "x"]), pd.Series(["b", "b", "y"])).to_dict()
    {'a': 'a', 'b': 'a', 'c': 'a', 'x': 'x', 'y': 'x'}
    """
    names, codes = np.unique(pd.concat([first, second]).to_numpy(object), return_inverse=True)
    sets = connected_sets(len(names), *codes.reshape(2, -1))
    firsts = pd.Series(names).groupby(sets).transform("min")  # names are sorted: min is the first
    return pd.Series(firsts.to_numpy(), index=names, dtype="str")


def repeats(sets: pd.Series) -> pd.Series:
    """Return bool [rows]: True if an earlier row is in the same set.

    sets: the set of each row, such as its pixels_id or cluster; null if the row is in no set.

    >>> repeats(pd.Series(["a", "a", None, None])).tolist()
    [False, True, False, False]
    """
    return sets.notna() & sets.duplicated()


def label_counts(sets: pd.Series, labels: pd.Series) -> pd.Series:
    """Return int64 [rows]: the number of different labels in the row's set; 0 if it has no set.

    Blank labels are not counted, since a missing label contradicts no other label.
    sets: the set of each row, null if the row is in no set. labels: str [rows].

    >>> label_counts(pd.Series(["a", "a", "b"]), pd.Series(["cat", "dog", "cat"])).tolist()
    [2, 2, 1]
    """
    filled = labels.where(labels.str.strip() != "")
    return filled.groupby(sets).transform("nunique").fillna(0).astype("int64")


def _exact_links(images: pd.DataFrame) -> pd.DataFrame:
    firsts = images.groupby("pixels_id", sort=False)["path"].transform("first")
    later = images["path"] != firsts
    return pd.DataFrame(
        {
            "path": firsts[later],
            "other": images["path"][later],
            "kind": "exact",
            "similarity": 1.0,
            "degrees": 0.0,
            "mirrored": False,
        }
    )


def _near_links(images: pd.DataFrame, params: NearDuplicates) -> pd.DataFrame:
    """Compare the pairs that hashing proposes, and return links between near copies.

    images: rows with distinct pixels, sorted by path.
    Two images that both have ENOUGH near copies are not compared with each other. So a large number
    of similar images, such as the frames of a video, gives about ENOUGH links per image, and not
    one link per pair.
    """
    known = images[images["fingerprint"].notna()]
    samples = stack(known["fingerprint"])
    required = _required_similarity(known, params.min_similarity)
    rows, seen = len(known), np.empty(0, np.int64)
    copies = np.zeros(rows, np.int64)
    links = [_Alike.none()]
    for pairs in candidate_pairs(samples, required):
        # Most pairs share several words, so an earlier word has already proposed them.
        new = np.setdiff1d(pairs, seen, assume_unique=True)
        first, second = np.divmod(new, rows)
        new = new[np.minimum(copies[first], copies[second]) < ENOUGH]
        seen = np.union1d(seen, new)
        for start in range(0, len(new), PAIRS_AT_ONCE):
            ends = np.divmod(new[start : start + PAIRS_AT_ONCE], rows)
            alike = _compare_rows(samples, required, *ends, params.turned)
            copies += np.bincount(np.concatenate([alike.first, alike.second]), minlength=rows)
            links.append(alike)
    return _table(known["path"].to_numpy(object), links)


@dataclass(frozen=True, eq=False)
class _Alike:
    """Pairs that are similar enough: the row numbers of the two images, and how they compare."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    similarity: NDArray[np.float64]
    degrees: NDArray[np.float64]
    mirrored: NDArray[np.bool_]

    @staticmethod
    def none() -> "_Alike":
        whole, real = np.empty(0, np.int64), np.empty(0, np.float64)
        return _Alike(whole, whole, real, real, np.empty(0, np.bool_))


def _compare_rows(
    samples: NDArray[np.int8],
    required: NDArray[np.float64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    turned: bool,
) -> _Alike:
    """Compare pairs of rows; return the pairs with the similarity that both images require."""
    all_pairs = compare(spectra(samples[first]), spectra(samples[second]), turned)
    alike = all_pairs.similarity >= np.maximum(required[first], required[second])
    measured = all_pairs.similarity[alike], all_pairs.degrees[alike], all_pairs.mirrored[alike]
    return _Alike(first[alike], second[alike], *measured)


def _table(paths: NDArray[np.object_], links: Sequence[_Alike]) -> pd.DataFrame:
    columns = {
        field.name: np.concatenate([getattr(alike, field.name) for alike in links])
        for field in fields(_Alike)
    }
    first, second = paths[columns.pop("first")], paths[columns.pop("second")]
    return pd.DataFrame({"path": first, "other": second, "kind": "near"} | columns)


def _required_similarity(images: pd.DataFrame, min_similarity: float) -> NDArray[np.float64]:
    """Return float64 [rows]: the similarity that another image must have to be a copy of each.

    If a picture is smaller than the grid of the fingerprint, it has less detail, in proportion to
    its area, and is easily confused with other pictures. So 1 - min_similarity is multiplied by the
    ratio of the areas: at 28 pixels a side a min_similarity of 0.9 becomes 0.966.
    """
    side = images[["width", "height"]].min(axis=1).to_numpy(float)
    required: NDArray[np.float64] = 1 - (1 - min_similarity) * np.minimum(side / GRID, 1) ** 2
    return required


def _cluster_numbers(firsts: pd.Series, links: pd.DataFrame) -> NDArray[np.int64]:
    """Return int64 [links]: the number of each link's cluster, in the order of the first paths."""
    order = {name: number for number, name in enumerate(sorted(firsts.unique()))}
    numbers: NDArray[np.int64] = links["path"].map(firsts).map(order).to_numpy("int64")
    return numbers
