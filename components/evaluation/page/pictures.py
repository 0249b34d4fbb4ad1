"""Pixels → pictures for the page: small, as data URIs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.validation.page.thumbnails import SIDE_PX, is_tiny, picture_uri, thumbnail

Images = NDArray[np.uint8]
SMALL_PX = 72  # the longer side of a small picture; a tiny one would be a PNG, which is larger


@dataclass(frozen=True)
class Picture:
    """A picture. uri: its data URI. tiny: whether the page enlarges it. title: what it shows."""

    uri: str
    tiny: bool
    title: str


def picture(pixels: Images, title: str, side: int = SIDE_PX) -> Picture:
    """Return a picture whose longer side has at most `side` pixels. pixels: uint8 [H, W, 3]."""
    small = thumbnail(np.asarray(pixels), side)
    return Picture(picture_uri(small), is_tiny(pixels), title)


def class_pictures(
    rows: pd.DataFrame, images: Images, classes: Sequence[int], count: int
) -> dict[int, list[Picture]]:
    """Return class → small pictures of at most `count` test images of the class.

    They are the images with the lowest image_id. It is a hash, so they are as good as drawn at
    random. rows: the table of N test images, with the columns path, image_id and label_index.
    images: uint8 [N, S, S, 3], also a memory map. classes: class indices.
    """
    table = rows.reset_index(drop=True)
    table = table[table["label_index"].isin(classes)].sort_values("image_id", kind="stable")
    chosen = table.groupby("label_index", sort=False).head(count)
    shown: dict[int, list[Picture]] = {index: [] for index in classes}
    for row in chosen.itertuples():
        shown[row.label_index].append(picture(images[row.Index], row.path, SMALL_PX))
    return shown
