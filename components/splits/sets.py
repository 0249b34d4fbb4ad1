"""accepted manifest, links → sets of images that are linked, directly or through other images.

Two images are linked if they have the same pixels, if they have the same group (such as images of
the same patient), or if they are near copies. Near copies look nearly the same, for example because
one image was resized. The sets are used for two purposes:

- If a split contains no image of a class, the module `filling` moves images of this class into the
  split. It moves all images of a set together.
- If there are folds, all images of a set are in one fold.

The module `placement` runs first and chooses a split for each image. It does not use the sets.

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
    (float64).

    accepted: a table with the columns path and pixels_id. links: a table with the columns path,
    other, kind (exact or near) and similarity. Each row is a pair of copies; path and other are the
    paths of the two files. Exact copies are files with the same pixels.

    If several files have the same pixels, the rows with the kind near name only one of these files,
    the file whose path sorts first. This file represents all of them: its pairs are in the result
    if at least one file with these pixels is accepted, and otherwise they are left out.
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
    # `connected_sets` needs a number for each thing that can be linked. Here each pixels_id and
    # each group has a number: the pixels_id have the numbers 0, 1, 2, …, and the groups have the
    # numbers after them. A pair of near copies links two pixels_id. An image with a group links its
    # pixels_id to its group.
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
