"""manifest → links between images that are the same picture, exactly or nearly, and clusters.

Exactly the same means identical decoded pixels (`pixels_id`), whatever the file's name, format or
metadata. Nearly the same means that fingerprints correlate; see images.fingerprints.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from components.data.duplicates.hashing import candidate_pairs
from components.data.images.fingerprints import GRID, compare, spectra, stacked
from components.params import NearDuplicates

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
    ends = codes.reshape(2, -1)
    graph = coo_array((np.ones(ends.shape[1], np.int8), (ends[0], ends[1])), (len(names),) * 2)
    _, sets = connected_components(graph, directed=False)
    firsts = pd.Series(names).groupby(sets).transform("min")  # names are sorted: min is the first
    return pd.Series(firsts.to_numpy(), index=names, dtype="str")


def repeats(manifest: pd.DataFrame) -> pd.Series:
    """Return bool [rows]: True where an earlier row has the same pixels already."""
    pixels = manifest["pixels_id"]
    return pixels.notna() & pixels.duplicated()


def label_counts(manifest: pd.DataFrame) -> pd.Series:
    """Return int [rows]: under how many labels a row's pixels occur, 0 where it has no pixels.

    A blank label contradicts nothing and does not count.
    """
    labels = manifest["label"].where(manifest["label"].str.strip() != "")
    return labels.groupby(manifest["pixels_id"]).transform("nunique").fillna(0).astype("int64")


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
    """Compare what hashing finds worth comparing. images: of distinct pixels, sorted by path."""
    known = images[images["fingerprint"].notna()]
    samples = stacked(known["fingerprint"])
    required = _required(known, params.min_similarity)
    pairs = candidate_pairs(samples, required)
    starts = range(0, max(len(pairs), 1), PAIRS_AT_ONCE)
    chunks = [pairs[at : at + PAIRS_AT_ONCE] for at in starts]
    paths = known["path"].to_numpy(object)
    found = [_alike(paths, samples, required, chunk, params.turned) for chunk in chunks]
    return pd.concat(found, ignore_index=True)


def _alike(
    paths: NDArray[np.object_],
    samples: NDArray[np.int8],
    required: NDArray[np.float64],
    pairs: NDArray[np.int64],
    turned: bool,
) -> pd.DataFrame:
    """Return the pairs, rows of the arrays, that are as similar as both images require."""
    first, second = pairs[:, 0], pairs[:, 1]
    found = compare(spectra(samples[first]), spectra(samples[second]), turned)
    links = pd.DataFrame(
        {
            "path": paths[first],
            "other": paths[second],
            "kind": "near",
            "similarity": found.similarity,
            "degrees": found.degrees,
            "mirrored": found.mirrored,
        }
    )
    return links[found.similarity >= np.maximum(required[first], required[second])]


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
