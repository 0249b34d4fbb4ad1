"""manifest → links between images that are the same picture, exactly or nearly, and clusters.

Exactly the same means identical decoded pixels (`pixels_id`), whatever the file's name, format or
metadata. Nearly the same means that fingerprints correlate; see images.fingerprints.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.duplicates.connected import connected_sets
from components.duplicates.hashing import candidate_pairs
from components.images.fingerprints import GRID, compare, spectra, stacked
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
PAIRS_AT_ONCE = 8192  # compared in one go; bounds the memory
ENOUGH = 32  # near copies of one image


def find_links(manifest: pd.DataFrame, params: NearDuplicates) -> pd.DataFrame:
    """Return one row per link, sorted by path and other, with the columns of LINK_COLUMNS.

    Of n exact copies, n - 1 link to the first by path; near copies link between such firsts.
    degrees and mirrored tell how `other` is turned against `path`; cluster numbers the connected
    sets of images in the order of their first path.
    """
    images = manifest[manifest["pixels_id"].notna()].sort_values("path", kind="stable")
    copies = images["pixels_id"].duplicated()
    links = [_exact_links(images), _near_links(images[~copies], params)]
    table = pd.concat(links, ignore_index=True).sort_values(["path", "other"], kind="stable")
    table["cluster"] = _numbered(clusters(table["path"], table["other"]), table)
    return table.astype(LINK_COLUMNS).reset_index(drop=True)


def clusters(first: pd.Series, second: pd.Series) -> pd.Series:
    """Return str [all names that occur], by name: the first name of the set that links connect.

    first, second: names, row by row linked to each other.
    """
    names, codes = np.unique(pd.concat([first, second]).to_numpy(object), return_inverse=True)
    sets = connected_sets(len(names), *codes.reshape(2, -1))
    firsts = pd.Series(names).groupby(sets).transform("min")  # names are sorted: min is the first
    return pd.Series(firsts.to_numpy(), index=names, dtype="str")


def repeats(sets: pd.Series) -> pd.Series:
    """Return bool [rows]: True where an earlier row is of the same set already.

    sets: what tells a row's set, such as its pixels_id or cluster; null where it is in none.
    """
    return sets.notna() & sets.duplicated()


def label_counts(sets: pd.Series, labels: pd.Series) -> pd.Series:
    """Return int [rows]: how many labels occur in a row's set, 0 where it is in none.

    A blank label contradicts nothing and does not count.
    """
    named = labels.where(labels.str.strip() != "")
    return named.groupby(sets).transform("nunique").fillna(0).astype("int64")


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
    """Compare what hashing finds worth comparing. images: of distinct pixels, sorted by path.

    Two images that have ENOUGH copies each are not compared any more, so a crowd, as of a video's
    frames, costs so many links an image and not a link for each of its pairs.
    """
    known = images[images["fingerprint"].notna()]
    samples = stacked(known["fingerprint"])
    required = _required(known, params.min_similarity)
    rows, seen = len(known), np.empty(0, np.int64)
    copies = np.zeros(rows, np.int64)
    found = [_Alike.none()]
    for pairs in candidate_pairs(samples, required):
        new = np.setdiff1d(pairs, seen, assume_unique=True)
        first, second = np.divmod(new, rows)
        new = new[np.minimum(copies[first], copies[second]) < ENOUGH]
        seen = np.union1d(seen, new)
        for start in range(0, len(new), PAIRS_AT_ONCE):
            ends = np.divmod(new[start : start + PAIRS_AT_ONCE], rows)
            alike = _compared(samples, required, *ends, params.turned)
            copies += np.bincount(np.concatenate([alike.first, alike.second]), minlength=rows)
            found.append(alike)
    return _table(known["path"].to_numpy(object), found)


@dataclass(frozen=True, eq=False)
class _Alike:
    """Pairs that are similar enough: rows of both, and how they compare."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    similarity: NDArray[np.float64]
    degrees: NDArray[np.float64]
    mirrored: NDArray[np.bool_]

    @staticmethod
    def none() -> "_Alike":
        whole, real = np.empty(0, np.int64), np.empty(0, np.float64)
        return _Alike(whole, whole, real, real, np.empty(0, np.bool_))


def _compared(
    samples: NDArray[np.int8],
    required: NDArray[np.float64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    turned: bool,
) -> _Alike:
    """Compare pairs of rows and return those that are as similar as both images require."""
    found = compare(spectra(samples[first]), spectra(samples[second]), turned)
    kept = found.similarity >= np.maximum(required[first], required[second])
    measured = found.similarity[kept], found.degrees[kept], found.mirrored[kept]
    return _Alike(first[kept], second[kept], *measured)


def _table(paths: NDArray[np.object_], found: Sequence[_Alike]) -> pd.DataFrame:
    columns = {
        field.name: np.concatenate([getattr(alike, field.name) for alike in found])
        for field in fields(_Alike)
    }
    first, second = paths[columns.pop("first")], paths[columns.pop("second")]
    return pd.DataFrame({"path": first, "other": second, "kind": "near"} | columns)


def _required(images: pd.DataFrame, min_similarity: float) -> NDArray[np.float64]:
    """Return the similarity asked of each image, float [rows].

    A picture smaller than the fingerprint's grid has less to tell it from others, in proportion to
    its area, so what is missing to 1 shrinks likewise: 0.9 becomes 0.966 at 28 pixels a side.
    """
    side = images[["width", "height"]].min(axis=1).to_numpy(float)
    required: NDArray[np.float64] = 1 - (1 - min_similarity) * np.minimum(side / GRID, 1) ** 2
    return required


def _numbered(firsts: pd.Series, links: pd.DataFrame) -> NDArray[np.int64]:
    """Number the clusters, known by their first path, in the order of that path."""
    order = {name: number for number, name in enumerate(sorted(firsts.unique()))}
    numbers: NDArray[np.int64] = links["path"].map(firsts).map(order).to_numpy("int64")
    return numbers
