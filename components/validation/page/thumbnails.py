"""Pixels → a thumbnail, and the data URI of a thumbnail for a page.

Most thumbnails are JPEG: two hundred photographs take 1 MB as JPEG, but 6 MB as PNG.
"""

import numpy as np
import simplejpeg

from components.images.decoder import Pixels, resize
from components.images.png_writer import encode_png
from components.pages.page import data_uri

SIDE_PX = 160
TINY_PX = 64  # A page enlarges a picture whose longer side is at most this long.
QUALITY = 80  # of JPEG, at most 100


def thumbnail(pixels: Pixels, side: int = SIDE_PX) -> Pixels:
    """Resize a picture so that its longer side has `side` pixels. The aspect stays the same.

    pixels: uint8 [H, W, 3]. Returns uint8 [h, w, 3]; h and w are at least 1, also for a narrow
    strip. A picture that is not larger is returned unchanged.
    """
    height, width, _ = pixels.shape
    if max(height, width) <= side:
        return pixels
    scale = side / max(height, width)
    high, wide = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (side - high) // 2, (side - wide) // 2  # sizes of the bars that `pad` adds
    return resize(pixels, side, "pad")[top : top + high, left : left + wide]


def picture_uri(pixels: Pixels) -> str:
    """Return the data URI of a thumbnail, uint8 [H, W, 3]. A tiny picture is PNG, others are JPEG.

    The page enlarges a tiny picture, so JPEG's changes to single pixels would be visible. Equal
    pixels give equal bytes: `fastdct=False` selects libjpeg's integer transform.
    """
    if is_tiny(pixels):
        return data_uri(encode_png(pixels), "png")
    rows = np.ascontiguousarray(pixels)
    return data_uri(simplejpeg.encode_jpeg(rows, QUALITY, "RGB", "420", fastdct=False), "jpeg")


def is_tiny(pixels: Pixels) -> bool:
    """True if a picture, uint8 [H, W, 3], is so small that a page enlarges its pixels."""
    return bool(max(pixels.shape[:2]) <= TINY_PX)
