"""accepted manifest, links → sets of images that belong together, directly or through others.

Two images belong together if they have the same pixels, have the same group, or are near copies.
The split of an image does not need these sets, since it depends on the image alone. What is moved
as a whole needs them: the sets that fill an empty split, and folds.

Example: a and b are near copies, b and c are of one group. All three are one set, although nothing
links a to c directly.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.duplicates.connected import connected_sets


def near_pairs(accepted: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
    """Return near copies by pixels: columns pixels, other, similarity, each pair in both orders.

    links: columns path, other, kind (exact or near), similarity. Near links name the first file of
    each picture. If that file is not accepted, but an exact copy of it is, the link holds for the
    copy. Links to pictures without any accepted file are left out.
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
    """Return int [rows]: the number of each row's set, equal where rows belong together.

    near: columns pixels and other, as from `near_pairs`; pairs with pixels that no row has are left
    out.
    """
    # Pictures and groups are the things that are linked: pictures first, then the groups.
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
