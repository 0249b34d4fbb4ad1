"""accepted manifest, links → which images belong together, directly or through others.

Belonging is pixels, a group, or a near copy. Sides do not need it (a side depends on an image
alone); what is moved as a whole does: sets that fill an empty side, and folds.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def near_pairs(accepted: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
    """Return near copies by pixels: columns pixels, other, similarity, each pair in both orders.

    links: columns path, other, kind (exact or near), similarity. Near links name the first file of
    each picture. Where that file is not accepted but an exact copy of it is, the copy stands in;
    links to pictures without any accepted file are left out.
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


def connected_sets(accepted: pd.DataFrame, near: pd.DataFrame) -> NDArray[np.intp]:
    """Return int [rows]: the number of the set of a row, equal where rows hang together.

    near: columns pixels and other, as from `near_pairs`; pairs that reach out of `accepted` are
    left out.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pixels, names = pd.factorize(accepted["pixels_id"])
    groups, group_names = pd.factorize(accepted["group"])
    index = pd.Index(names)
    ends = np.stack([index.get_indexer(near["pixels"]), index.get_indexer(near["other"])])
    ends = ends[:, (ends >= 0).all(axis=0)]
    grouped = groups >= 0
    start = np.concatenate([ends[0], pixels[grouped]])
    end = np.concatenate([ends[1], len(names) + groups[grouped]])
    nodes = len(names) + len(group_names)
    graph = coo_array((np.ones(len(start), dtype=bool), (start, end)), shape=(nodes, nodes))
    _, numbers = connected_components(graph, directed=False)
    found: NDArray[np.intp] = numbers[pixels]
    return found
