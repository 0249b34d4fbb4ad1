"""uint8 pixels → the bytes of a PNG file, for files on disk and for pictures in HTML pages."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode uint8 [H, W, 3] (RGB) or [H, W] (grey) as the bytes of a PNG file, without loss."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()
