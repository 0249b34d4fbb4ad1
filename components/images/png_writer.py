"""uint8 pixels → the bytes of a PNG file: the one encoder, for files and for pictures in pages."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return the bytes of a PNG file of uint8 [H, W, 3] (colour) or [H, W] (grey), lossless."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()
