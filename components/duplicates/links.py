"""manifest (the table of all images) → links between copies, and the clusters that the links form.

It is guaranteed that images with the same decoded pixels, and so the same `pixels_id` in the
manifest, are always in one cluster. Their files may differ in name, format or metadata. There are
two kinds of links: between exact copies (the same pixels) and between near copies (similar
pictures).

Two images are near copies if their fingerprints are similar (see images.fingerprints). The module
`hashing` proposes pairs of images. A proposed pair is linked if its similarity is at least
`min_similarity`. Small images need a higher similarity.

Example with three images: b.bmp has the same pixels as a.png. c.jpg is a smaller copy of a.png that
is rotated by 90 degrees.

    path    other   kind    similarity   degrees   mirrored   cluster
    a.png   b.bmp   exact   1.00         0         no         0
    a.png   c.jpg   near    0.97         90        no         0

There is no link from b.bmp to c.jpg. If several files have the same pixels, only the file whose
path is the first in sorted order has near links.
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
PAIRS_AT_ONCE = 8192  # maximum number of pairs in one calculation; more pairs need more memory
ENOUGH = 32  # if two images both have this many near copies, they are not compared with each other


def find_links(manifest: pd.DataFrame, params: NearDuplicates) -> pd.DataFrame:
    """Return one row per link, sorted by `path` and `other`, with the columns of LINK_COLUMNS.

    manifest: the manifest. A row without a pixels_id, such as an image that cannot be decoded, has
    no links.
    params: the params `validate.near_duplicates`.

    If n files have the same pixels, the file whose path is the first in sorted order has n - 1
    exact links, one to each of the n - 1 remaining files. The remaining files have no near links.

    Some of the columns of the result: `degrees` is the clockwise rotation of the image `other`
    relative to the image `path`. `mirrored` says whether `other` is mirrored relative to `path`.
    `cluster` is the number of the cluster. A cluster is a set of images that are linked directly or
    through other images. Clusters are numbered from 0 in the order of their first paths.
    """
    images = manifest[manifest["pixels_id"].notna()].sort_values("path", kind="stable")
    copies = images["pixels_id"].duplicated()
    links = [_exact_links(images), _near_links(images[~copies], params)]
    table = pd.concat(links, ignore_index=True).sort_values(["path", "other"], kind="stable")
    table["cluster"] = _cluster_numbers(clusters(table["path"], table["other"]), table)
    return table.astype(LINK_COLUMNS).reset_index(drop=True)


def clusters(first: pd.Series, second: pd.Series) -> pd.Series:
    """Return, for each name, the first name (in sorted order) of the name's cluster.

    A cluster is a set of names that are linked directly or through other names. The result is a
    series: its index has the names, and its values are the first names.
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

    sets: the name of each row's set, such as a pixels_id; null if the row is in no set.

    >>> repeats(pd.Series(["a", "a", None, None])).tolist()
    [False, True, False, False]
    """
    return sets.notna() & sets.duplicated()


def label_counts(sets: pd.Series, labels: pd.Series) -> pd.Series:
    """Return int64 [rows]: how many different labels the row's set has; 0 if the row is in no set.

    Empty labels are not counted, because an image without a label contradicts no other image.
    sets: the name of each row's set; null if the row is in no set. labels: str [rows], the labels.

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
    """Compare the pairs that the module `hashing` proposes, and return links between near copies.

    images: manifest rows with distinct pixels, sorted by path.
    If two images both have ENOUGH near copies, they are not compared with each other. So a large
    set of similar images, such as the frames of a video, gives about ENOUGH links per image, not
    one link per pair.
    """
    known = images[images["fingerprint"].notna()]
    samples = stack(known["fingerprint"])
    required = _required_similarity(known, params.min_similarity)
    rows, seen = len(known), np.empty(0, np.int64)
    copies = np.zeros(rows, np.int64)
    links = [_Alike.none()]
    for pairs in candidate_pairs(samples, required):
        # `candidate_pairs` may yield a pair several times. `seen` has the pairs that were compared.
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
    """Pairs of similar images, as arrays [pairs].

    first, second: the row numbers of the two images. similarity, degrees, mirrored: see
    images.fingerprints.Similarities.
    """

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
    """Compare pairs of rows; return the pairs whose similarity is high enough for both images.

    samples: int8 [N, RINGS, ANGLES], the fingerprints. required: float64 [N], see
    `_required_similarity`. first, second: int64 [pairs], the rows of each pair. turned: whether
    rotated and mirrored copies also count.
    """
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
    """Return float64 [rows]: for each image, the similarity that a near copy must at least have.

    Small pictures have little detail, so different small pictures are often similar. So if the
    shorter side of a picture is less than GRID, the distance 1 - min_similarity is multiplied by
    (shorter side / GRID)². For example, if the shorter side has 28 pixels, a min_similarity of 0.9
    becomes 0.966.
    """
    side = images[["width", "height"]].min(axis=1).to_numpy(float)
    required: NDArray[np.float64] = 1 - (1 - min_similarity) * np.minimum(side / GRID, 1) ** 2
    return required


def _cluster_numbers(firsts: pd.Series, links: pd.DataFrame) -> NDArray[np.int64]:
    """Return int64 [links]: the number of each link's cluster.

    firsts: path → the first path of its cluster. Clusters are numbered in the order of these paths.
    """
    order = {name: number for number, name in enumerate(sorted(firsts.unique()))}
    numbers: NDArray[np.int64] = links["path"].map(firsts).map(order).to_numpy("int64")
    return numbers
