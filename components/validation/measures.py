"""manifest, links between copies → the manifest with more columns for expectations to check."""

import numpy as np
import pandas as pd

from components.duplicates.links import label_counts, repeats

ENDS = ("path", "other")  # the columns that hold the two images of a link


def add_measures(manifest: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest with more columns.

    shorter_px, longer_px: float, the sides in pixels.
    side_factor: float, the square root of the area, divided by the median of these roots. It is
        null if the file is no image.
    cluster: Int64, see `near_clusters`.
    labels_of_pixels: how many labels the images with the same pixels have.
    labels_of_cluster: how many labels the images of the cluster have.
    near_copy: 1 for every image of a cluster except the first, else 0.
    faulty: 1.0 if the file has a fault, else 0.0. The mean of the column is the share of faults.
    duplicate: 1.0 if an earlier image has the same pixels, else 0.0.
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
    """Return Int64 [rows]: the number of the cluster of each row, null if it has no near copy.

    links: columns path, other, kind (exact or near) and cluster. A cluster needs one near link: if
    all its images have equal pixels, their rows are null. If a cluster has a near link, all its
    images have its number, also those with equal pixels.
    """
    links = links[links["cluster"].isin(links.loc[links["kind"] == "near", "cluster"])]
    ends = [links[[end, "cluster"]].set_axis(["path", "cluster"], axis=1) for end in ENDS]
    numbers = pd.concat(ends).drop_duplicates("path").set_index("path")["cluster"]
    return manifest["path"].map(numbers).astype("Int64")
