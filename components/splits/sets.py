"""accepted manifest, links → sets of images that belong together, directly or through other images.

Two images belong together if they have the same pixels or the same group, or are near copies. The
sets are used for two purposes. If images are moved into an empty split, all images of their set
are moved. If there are folds, all images of a set are in one fold. The module `placement` does not
use these sets.

Example: `a` and `b` are near copies, and `b` and `c` have the same group. The three images form one
set, although there is no direct link between `a` and `c`.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.duplicates.connected import connected_sets


def near_pairs(accepted: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
    """Return a table of the pairs of near copies, each pair in both orders.

    Columns of the result: pixels and other (str, the pixels_id of the two copies) and similarity
    (float64). links: a table with the columns path, other, kind (exact or near) and similarity.

    If several files have the same pixels, near links name only the first of these files by path. If
    this file is not accepted, but an exact copy of it is accepted, the link holds for the copy. If
    no file with these pixels is accepted, the link is left out.
    """
    pixels = accepted.drop_duplicates("path").set_index("path")["pixels_id"]
    exact = links.loc[links["kind"] == "exact", ["path", "other"]]
    copies = exact.set_index("path")["other"].map(pixels).dropna()
    known = pd.concat([pixels, copies])
    known = known[~known.index.duplicated()]
    near = links[links["kind"] == "near"]
    ends = {"pixels": near["path"].map(known), "other": near["other"].map(known)}
    pairs = pd.DataFrame({**ends, "similarity": near["similarity"]}).dropna()
    pairs = pairs.astype({"pixels": "str", "other": "str", "similarity": "float64"})
    back = pairs.rename(columns={"pixels": "other", "other": "pixels"})
    return pd.concat([pairs, back], ignore_index=True)


def row_sets(accepted: pd.DataFrame, near: pd.DataFrame) -> NDArray[np.intp]:
    """Return int [rows]: the number of each row's set; all rows of a set have the same number.

    accepted: a table with the columns pixels_id and group. near: a table with the columns pixels
    and other, from `near_pairs`. A pair is ignored if one of its two pixels_id is not in
    `accepted`.
    """
    # The things that are linked are pictures and groups. The numbers of the groups follow the
    # numbers of the pictures. An image with a group links its picture to its group.
    pixels, names = pd.factorize(accepted["pixels_id"])
    groups, group_names = pd.factorize(accepted["group"])
    index = pd.Index(names)
    ends = np.stack([index.get_indexer(near["pixels"]), index.get_indexer(near["other"])])
    ends = ends[:, (ends >= 0).all(axis=0)]
    has_group = groups >= 0
    first = np.concatenate([ends[0], pixels[has_group]])
    second = np.concatenate([ends[1], len(names) + groups[has_group]])
    numbers: NDArray[np.intp] = connected_sets(len(names) + len(group_names), first, second)[pixels]
    return numbers
