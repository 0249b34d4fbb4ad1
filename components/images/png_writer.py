"""uint8 pixels → the bytes of a PNG file, for files on disk and for pictures in HTML pages."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return the bytes of a PNG file with these pixels. The encoding is without loss.

    pixels: the RGB pixels, uint8 [H, W, 3], or the grey pixels, uint8 [H, W].
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()
