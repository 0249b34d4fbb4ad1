"""Pixels → a small picture of them, and its data URI for a page.

Two hundred thumbnails of photographs take 1 MB as JPEG, and would take 6 MB as PNG.
"""

import numpy as np
import simplejpeg

from components.images.decoder import Pixels, resize
from components.images.png_writer import encode_png
from components.pages.page import data_uri

SIDE_PX = 160
TINY_PX = 64  # up to this size a picture is shown pixel by pixel
QUALITY = 80


def thumbnail(pixels: Pixels, side: int = SIDE_PX) -> Pixels:
    """Return uint8 [h, w, 3] of uint8 [H, W, 3]: the longer side `side` pixels, the aspect kept.

    A picture that is not larger is returned as it is. A strip keeps one pixel of its shorter side.
    """
    height, width, _ = pixels.shape
    if max(height, width) <= side:
        return pixels
    scale = side / max(height, width)
    high, wide = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (side - high) // 2, (side - wide) // 2  # of the bars that `pad` adds
    return resize(pixels, side, "pad")[top : top + high, left : left + wide]


def picture_uri(pixels: Pixels) -> str:
    """Return the data URI of a thumbnail: JPEG, or PNG where single pixels must be visible.

    Equal pixels give equal bytes: the transform is libjpeg's exact one for whole numbers.
    """
    if is_tiny(pixels):
        return data_uri(encode_png(pixels), "png")
    rows = np.ascontiguousarray(pixels)
    return data_uri(simplejpeg.encode_jpeg(rows, QUALITY, "RGB", "420", fastdct=False), "jpeg")


def is_tiny(pixels: Pixels) -> bool:
    """True for a picture so small that a page enlarges it, pixel by pixel."""
    return bool(max(pixels.shape[:2]) <= TINY_PX)
