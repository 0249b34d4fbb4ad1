"""Pixels → a thumbnail, and the data URI of a thumbnail for a page.

Most thumbnails are encoded as JPEG, because JPEG is smaller: thumbnails of two hundred photographs
take 1 MB as JPEG, but 6 MB as PNG.
"""

import numpy as np
import simplejpeg

from components.images.decoder import Pixels, resize
from components.images.png_writer import encode_png
from components.pages.page import data_uri

SIDE_PX = 160
TINY_PX = 64  # A picture is tiny if its longer side is at most this long.
QUALITY = 80  # quality of the JPEG encoding, from 1 to 100


def thumbnail(pixels: Pixels, side: int = SIDE_PX) -> Pixels:
    """Shrink a picture so that its longer side has `side` pixels.

    The ratio of width and height stays the same. pixels: uint8 [H, W, 3]. Returns uint8 [h, w, 3].
    h and w are at least 1, even if the picture is very long and narrow. If no side has more than
    `side` pixels, the picture is returned unchanged.
    """
    height, width, _ = pixels.shape
    if max(height, width) <= side:
        return pixels
    scale = side / max(height, width)
    high, wide = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (side - high) // 2, (side - wide) // 2  # widths of the bars that `pad` adds
    return resize(pixels, side, "pad")[top : top + high, left : left + wide]


def picture_uri(pixels: Pixels) -> str:
    """Return a thumbnail as a data URI.

    pixels: uint8 [H, W, 3]. A tiny picture is encoded as PNG, and any other picture as JPEG. The
    page enlarges a tiny picture. JPEG changes the pixels a little, which would be visible in an
    enlarged picture. Equal pixels must give equal bytes, so `fastdct=False` selects the integer
    transform of libjpeg, not the faster one.
    """
    if is_tiny(pixels):
        return data_uri(encode_png(pixels), "png")
    rows = np.ascontiguousarray(pixels)
    return data_uri(simplejpeg.encode_jpeg(rows, QUALITY, "RGB", "420", fastdct=False), "jpeg")


def is_tiny(pixels: Pixels) -> bool:
    """True if the longer side of a picture, uint8 [H, W, 3], has at most TINY_PX pixels."""
    return bool(max(pixels.shape[:2]) <= TINY_PX)
