"""Pixels, or the bytes of an image file → a picture inside a page, as a data URI."""

import base64
import struct
import zlib

import numpy as np
import numpy.typing as npt

SIGNATURE = b"\x89PNG\r\n\x1a\n"
RGB_8_BIT = bytes([8, 2, 0, 0, 0])  # depth, colour type, compression, filter, interlace
UP = 2  # PNG filter: each row as its difference to the row above, which photographs compress well


def png_uri(pixels: npt.NDArray[np.uint8]) -> str:
    """Return `data:image/png;base64,…` of uint8 [H, W, 3], lossless (ISO/IEC 15948)."""
    return data_uri(_png(pixels), "png")


def data_uri(content: bytes, kind: str) -> str:
    """Return `data:image/<kind>;base64,…` of the bytes of an image file (RFC 2397)."""
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    height, width, _ = pixels.shape
    rows = pixels.reshape(height, width * 3)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    filtered = np.hstack([np.full((height, 1), UP, np.uint8), rows - above])  # modulo 256
    return SIGNATURE + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">II", width, height) + RGB_8_BIT),
            _chunk(b"IDAT", zlib.compress(filtered.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
