"""manifest → links between images that are the same picture, exactly or nearly, and clusters.

Guarantee: images with the same decoded pixels (`pixels_id`) are always in one cluster, whatever the
name, format or metadata of the file. Near copies are images whose fingerprints correlate; see
images.fingerprints. Of the pairs that hashing proposes, those are linked whose correlation is at
least `min_similarity`.

Example: three images, where b.jpg has the pixels of a.png, and c.jpg is a.png, smaller and turned.

    path    other   kind    similarity   degrees   mirrored   cluster
    a.png   b.jpg   exact   1.00         0         no         0
    a.png   c.jpg   near    0.97         90        no         0

There is no link from b.jpg to c.jpg: near copies are linked to the first file of each picture only.
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
PAIRS_AT_ONCE = 8192  # compared at a time; bounds the memory
ENOUGH = 32  # near copies of one image, after which it is compared no more with others like it


def find_links(manifest: pd.DataFrame, params: NearDuplicates) -> pd.DataFrame:
    """Return one row per link, sorted by path and other, with the columns of LINK_COLUMNS.

    Of n exact copies the first by path has n - 1 links to the others; near links are between such
    first files. degrees and mirrored: how `other` is turned against `path`. cluster: a number for
    the images that are linked to each other, directly or through others, from 0 in the order of
    their first path.
    """
    images = manifest[manifest["pixels_id"].notna()].sort_values("path", kind="stable")
    copies = images["pixels_id"].duplicated()
    links = [_exact_links(images), _near_links(images[~copies], params)]
    table = pd.concat(links, ignore_index=True).sort_values(["path", "other"], kind="stable")
    table["cluster"] = _cluster_numbers(clusters(table["path"], table["other"]), table)
    return table.astype(LINK_COLUMNS).reset_index(drop=True)


def clusters(first: pd.Series, second: pd.Series) -> pd.Series:
    """Return name → the first name of its cluster: of all that are linked to it, or by others.

    first, second: str [links], the two names of each link.

    >>> clusters(pd.Series(["a", "c", "x"]), pd.Series(["b", "b", "y"])).to_dict()
    {'a': 'a', 'b': 'a', 'c': 'a', 'x': 'x', 'y': 'x'}
    """
    names, codes = np.unique(pd.concat([first, second]).to_numpy(object), return_inverse=True)
    sets = connected_sets(len(names), *codes.reshape(2, -1))
    firsts = pd.Series(names).groupby(sets).transform("min")  # names are sorted: min is the first
    return pd.Series(firsts.to_numpy(), index=names, dtype="str")


def repeats(sets: pd.Series) -> pd.Series:
    """Return bool [rows]: True where an earlier row is in the same set.

    sets: the set of each row, such as its pixels_id or cluster; null where it is in none.

    >>> repeats(pd.Series(["a", "a", None, None])).tolist()
    [False, True, False, False]
    """
    return sets.notna() & sets.duplicated()


def label_counts(sets: pd.Series, labels: pd.Series) -> pd.Series:
    """Return int [rows]: how many labels occur in the set of a row, 0 where it is in no set.

    A blank label contradicts nothing and does not count.

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
    """Compare the pairs that hashing proposes. images: with distinct pixels, sorted by path.

    Two images that have ENOUGH copies each are not compared with each other. So a crowd, such as
    the frames of a video, costs about ENOUGH links an image, and not a link for each of its pairs.
    """
    known = images[images["fingerprint"].notna()]
    samples = stack(known["fingerprint"])
    required = _required_similarity(known, params.min_similarity)
    rows, seen = len(known), np.empty(0, np.int64)
    copies = np.zeros(rows, np.int64)
    links = [_Alike.none()]
    for pairs in candidate_pairs(samples, required):
        new = np.setdiff1d(pairs, seen, assume_unique=True)  # most pairs share several words
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
    """Pairs that are similar enough: the rows of both, and how they compare."""

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
    """Compare pairs of rows and return those that are as similar as both images require."""
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
    """Return float [rows]: the similarity that each image must have with a copy.

    A picture smaller than the grid of the fingerprint has less detail to tell it from others, in
    proportion to its area. So what may be missing to 1 shrinks with the area: at 28 pixels a side
    0.9 becomes 0.966.
    """
    side = images[["width", "height"]].min(axis=1).to_numpy(float)
    required: NDArray[np.float64] = 1 - (1 - min_similarity) * np.minimum(side / GRID, 1) ** 2
    return required


def _cluster_numbers(firsts: pd.Series, links: pd.DataFrame) -> NDArray[np.int64]:
    """Return int64 [links]: the clusters, numbered in the order of their first path."""
    order = {name: number for number, name in enumerate(sorted(firsts.unique()))}
    numbers: NDArray[np.int64] = links["path"].map(firsts).map(order).to_numpy("int64")
    return numbers
