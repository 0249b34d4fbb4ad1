"""Pixels → bytes of image files that no library writes: by hand, byte for byte.

What Pillow can write it writes. The rest (interlaced PNGs, rare depths, samplings and paddings) is
put together here.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageCms

Pixels = NDArray[np.uint8]

END = b"\xff\xd9"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Adam7: first column and row, step right and down of each pass but the last.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A file: its bytes, the code of its fault (None: sound), its pixels where they are known."""

    name: str
    data: bytes
    code: str | None = None
    pixels: Pixels | None = None
    tolerance: int = 0


def noise(height: int = 40, width: int = 60) -> Pixels:
    """Return uint8 [height, width, 3] without any order; lossless formats must give it back."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def noise_image(size: int) -> Pillow.Image:
    """Return a square RGB image of noise."""
    return Pillow.fromarray(noise(size, size))


def scene(height: int = 96, width: int = 128) -> Pixels:
    """Return uint8 [height, width, 3] that resembles a photograph: slopes with some grain."""
    y, x = np.mgrid[:height, :width]
    grain = np.random.default_rng(1).normal(0, 12, (height, width))
    planes = [128 + 90 * np.sin(x / 17 + y / 29 + turn) + grain for turn in (0, 1, 2)]
    return np.stack(planes, -1).clip(0, 255).astype(np.uint8)


def saved(pixels: Pixels | Pillow.Image, kind: str, **options: Any) -> bytes:
    """Return the bytes of a file as Pillow writes it."""
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Pillow.Image) else Pillow.fromarray(pixels)
    image.save(file, format=kind, **options)
    return file.getvalue()


def reference(data: bytes) -> Pixels:
    """Return the pixels that Pillow sees in a sound file."""
    return np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"), np.uint8)


def upright(stored: Pixels, orientation: int) -> Pixels:
    """Return what a stored picture shows, by the words of EXIF: where row 0 and column 0 are."""
    transposed = stored.transpose(1, 0, 2) if orientation >= 5 else stored
    down = orientation in (3, 4, 7, 8)  # row 0 is the bottom, or column 0 is
    mirrored = orientation in (2, 3, 6, 7)
    return transposed[:: -1 if down else 1, :: -1 if mirrored else 1]


def zeroed(data: bytes, place: float, count: int) -> bytes:
    """Return a file of which `count` bytes are zero, as after a bad sector."""
    start = int(len(data) * place)
    return data[:start] + bytes(count) + data[start + count :]


def chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG."""
    sums = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + sums


def png(
    rows: bytes, size: tuple[int, int], depth: int = 8, colour: int = 0, *extra: bytes
) -> bytes:
    """Return a PNG of rows that each start with a filter byte; size is width and height.

    colour: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA. extra: chunks before the picture.
    """
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    packed = chunk(b"IDAT", zlib.compress(rows))
    return SIGNATURE + chunk(b"IHDR", header) + b"".join(extra) + packed + chunk(b"IEND", b"")


def interlaced(pixels: Pixels) -> bytes:
    """Return an Adam7 PNG of uint8 [H, W, 3]."""
    height, width, _ = pixels.shape
    parts = [pixels[y::down, x::right] for x, y, right, down in PASSES]
    rows = [row for part in [*parts, pixels[1::2]] if part.size for row in part]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def segment(marker: int, content: bytes) -> bytes:
    """Return a segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def with_segments(data: bytes, *segments: bytes) -> bytes:
    """Return a JPEG with more segments at its start."""
    return data[:2] + b"".join(segments) + data[2:]


def exif(orientation: int, order: str = "<") -> bytes:
    """Return an EXIF block, with the six bytes that a JPEG has before it."""
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    entry = struct.pack(f"{order}HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    return b"Exif\0\0" + mark + struct.pack(f"{order}I", 8) + entry


def flat_jpeg(size: tuple[int, int], luma: int = 0x11) -> bytes:
    """Return a JPEG of middle grey, whose Huffman codes are written by hand: 16 pixels a byte.

    luma: sampling factors of the luma, four bits each; size: width and height, whole MCUs.
    """
    mode, blocks = ("L", 1) if luma == 0x11 else ("RGB", (luma >> 4) * (luma & 15))
    data = bytearray(saved(Pillow.new(mode, (8, 8), "grey"), "JPEG", subsampling=0))
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    data[frame + 5 : frame + 9] = struct.pack(">HH", size[1], size[0])
    data[frame + 11] = luma
    start = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4])
    mcus = size[0] * size[1] // 64 // blocks
    bits = ("001010" * blocks + "0000" * (2 if mode == "RGB" else 0)) * 4  # four MCUs: whole bytes
    entropy = int(bits, 2).to_bytes(len(bits) // 8) * (mcus // 4)
    return bytes(data[:scan]) + bytes(data[scan:start]) + entropy + END


def bmp(values: NDArray[Any], bits: int, top_down: bool = False, rle: bytes = b"") -> bytes:
    """Return a BMP of values [H, W] under a palette from black to white, or of BGR [H, W, 3]."""
    height, width = values.shape[:2]
    greys = [n * 255 // (2**bits - 1) for n in range(2**bits)] if bits <= 8 else []
    palette = b"".join(bytes((grey, grey, grey, 0)) for grey in greys)
    packed = np.unpackbits(values[..., None], axis=2)[..., 8 - bits :] if bits < 8 else None
    lines = values if packed is None else np.packbits(packed.reshape(height, -1), axis=1)
    rows = [line.tobytes() + bytes(-line.nbytes % 4) for line in lines]
    body = rle or b"".join(rows if top_down else rows[::-1])
    offset = 54 + len(palette)
    high = -height if top_down else height
    kind = {8: 1, 4: 2}[bits] if rle else 0
    info = struct.pack("<IiiHHIIiiII", 40, width, high, 1, bits, kind, len(body), 0, 0, 0, 0)
    return struct.pack("<2sIHHI", b"BM", offset + len(body), 0, 0, offset) + info + palette + body


def npy(values: NDArray[Any]) -> bytes:
    """Return the bytes of a .npy file; an array of objects is pickled, as NumPy does."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)
    return file.getvalue()


def npy_header(text: str, values: bytes) -> bytes:
    """Return a .npy file with any text for its header."""
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text.encode() + values


def profile() -> bytes:
    """Return an ICC profile whose red and green are far from those of sRGB, by swapping the two."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = data.index(b"rXYZ"), data.index(b"gXYZ")
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data)


def icc(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ") -> bytes:
    """Return an ICC profile of a colour space and its tags (ICC.1:2001-04, section 6)."""
    head = struct.pack(">4xI4s4s4s", 0x02400000, b"prtr", space, connection) + bytes(12)
    head += b"acsp" + bytes(28) + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    start, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content
    rest = head.ljust(124, b"\0") + table + body
    return struct.pack(">I", 4 + len(rest)) + rest


def linear_grey() -> bytes:
    """Return the profile of grey whose levels are proportional to light."""
    white = b"XYZ " + bytes(4) + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    return icc(b"GRAY", {b"wtpt": white, b"kTRC": b"curv" + bytes(8)})


def black_alone() -> bytes:
    """Return a profile of CMYK by which black blackens and the other three are invisible."""
    white = b"XYZ " + bytes(4) + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    unit = struct.pack(">9i", *(0x10000 * (n % 4 == 0) for n in range(9)))
    corners = b"".join(bytes((0 if n & 1 else 255, 128, 128)) for n in range(16))  # Lab
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + unit
    table += bytes(range(256)) * 4 + corners + bytes(range(256)) * 3
    return icc(b"CMYK", {b"wtpt": white, b"A2B0": table}, b"Lab ")
