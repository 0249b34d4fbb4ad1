"""Manifest, links between copies → the manifest with more columns.

The expectations of the section `validate` of params.yaml are checked on these columns.
"""

import numpy as np
import pandas as pd

from components.duplicates.links import label_counts, repeats

ENDS = ("path", "other")  # the columns of a link that hold the paths of its two images


def add_measures(manifest: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest with more columns.

    manifest: the table of all images, one row for each file. links: the result of
    `duplicates.links.find_links`. Each row is a pair of copies.

    The new columns are:

    shorter_px, longer_px: float, the length of the shorter and of the longer side, in pixels. Both
        are null if the size of the image is unknown.
    side_factor: float, the side of the image divided by the median side of all decoded images. Here
        the side is the square root of the area. It is null if the file was not decoded.
    labels_of_pixels: int, the number of different labels of all images with the same pixels as this
        image. It is 0 if the file was not decoded. Blank labels are not counted.
    cluster: Int64, the result of `near_clusters`.
    labels_of_cluster: int, the number of different labels of the images in the cluster. It is 0 if
        the image is in no cluster. Blank labels are not counted.
    near_copy: int, 1 for every image of a cluster except the first image (in the order of the
        manifest), otherwise 0.
    faulty: float, 1.0 if the file has a fault, otherwise 0.0. The mean of this column is the share
        of files with a fault.
    duplicate: float, 1.0 if an earlier image has the same pixels, otherwise 0.0.
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
    """Return Int64 [rows]: the number of the cluster of each row, or null.

    A cluster is a set of images that are linked as copies, directly or through other images. A row
    gets null if its image has no link, or if all images of the cluster have equal pixels. In every
    other cluster, all images get the number of the cluster, even if some of them have equal pixels.

    links: a table with the columns path, other, kind (exact or near) and cluster. Each row is a
    pair of copies; path and other are the paths of the two files.
    """
    links = links[links["cluster"].isin(links.loc[links["kind"] == "near", "cluster"])]
    ends = [links[[end, "cluster"]].set_axis(["path", "cluster"], axis=1) for end in ENDS]
    numbers = pd.concat(ends).drop_duplicates("path").set_index("path")["cluster"]
    return manifest["path"].map(numbers).astype("Int64")
