"""manifest, links → the manifest with the columns that expectations check."""

import numpy as np
import pandas as pd

from components.duplicates.links import label_counts, repeats

ENDS = ("path", "other")  # of a link


def add_measures(manifest: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest with further columns.

    shorter_px and longer_px: sides. side_factor: the root of an image's area, against that of the
    median image; null for a file that is no image. cluster: see `near_clusters`. labels_of_pixels,
    labels_of_cluster: how many labels the same pixels, or nearly the same pixels, have. near_copy:
    1 for all but the first image of a cluster. faulty and duplicate: 1.0 where true, else 0.0, so
    that their mean is a share.
    """
    sides = manifest[["width", "height"]].astype(float)
    side = np.sqrt(sides["width"] * sides["height"]).where(manifest["pixels_id"].notna())
    cluster = near_clusters(manifest, links)
    return manifest.assign(
        shorter_px=sides.min(axis=1),
        longer_px=sides.max(axis=1),
        side_factor=side / side.median(),
        labels_of_pixels=label_counts(manifest["pixels_id"], manifest["label"]),
        cluster=cluster,
        labels_of_cluster=label_counts(cluster, manifest["label"]),
        near_copy=repeats(cluster).astype(int),
        faulty=manifest["fault"].notna().astype(float),
        duplicate=repeats(manifest["pixels_id"]).astype(float),
    )


def near_clusters(manifest: pd.DataFrame, links: pd.DataFrame) -> pd.Series:
    """Return Int64 [rows]: the number of a row's cluster, null where it has no near copy.

    links: columns path, other, kind (exact or near) and cluster. A cluster of equal pixels alone
    does not count; in a cluster with near copies the equal ones count, too.
    """
    links = links[links["cluster"].isin(links.loc[links["kind"] == "near", "cluster"])]
    ends = [links[[end, "cluster"]].set_axis(["path", "cluster"], axis=1) for end in ENDS]
    numbers = pd.concat(ends).drop_duplicates("path").set_index("path")["cluster"]
    return manifest["path"].map(numbers).astype("Int64")
