"""Nothing → files made to exhaust memory or time: some kB, or some MB, that ask for gigabytes.

Giants are refused. What is hidden beside a small picture (metadata, surplus) is not looked at, and
the picture is read.
"""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image as Pillow

from tests.components.images.crafted import (
    END,
    SIGNATURE,
    Case,
    chunk,
    exif,
    flat_jpeg,
    noise,
    npy_header,
    png,
    saved,
    segment,
    with_segments,
)
from tests.components.images.tiff_cases import tiff, tiff_of_parts

MB = 1_000_000


def bombs() -> Iterator[Case]:
    """Yield all of them; one is in memory at a time."""
    for family in (giants, animations, stuffed_jpegs, stuffed_pngs, stuffed_webps, stuffed_others):
        yield from family()


def giants() -> Iterator[Case]:
    """Yield pictures far above any cap on pixels: whole ones, and headers with nothing behind."""
    for side in (12_000, 25_000):  # 144 and 625 megapixels
        rows = zeroes_packed(side * (1 + side // 8))
        yield giant(f"png_{side}", png_of_packed(rows, (side, side), depth=1))
    yield giant("png_header", png(b"", (2**31 - 1, 2**31 - 1)))
    yield giant("png_strip", png(b"", (2**31 - 1, 1)))
    yield giant("jpeg_12000", flat_jpeg((12_000, 12_000)))
    header = bytearray(flat_jpeg((64, 64)))
    frame = header.index(b"\xff\xc0")
    header[frame + 5 : frame + 9] = b"\xff" * 4
    yield giant("jpeg_header", bytes(header))
    canvas = b"VP8X" + struct.pack("<II", 10, 0) + b"\xff\xff\0" * 2
    lossless = b"VP8L" + struct.pack("<IBI", 5, 0x2F, 2**28 - 1) + b"\0"
    lossy = b"VP8 " + struct.pack("<I", 10) + b"\x10\0\0\x9d\x01\x2a" + b"\xff\x3f" * 2
    for name, content in {"canvas": canvas, "lossless": lossless, "lossy": lossy}.items():
        riff = b"RIFF" + struct.pack("<I", 4 + len(content)) + b"WEBP" + content
        yield giant(f"webp_{name}", riff)
    for name, size in {"bmp": (2**31 - 1, 2**31 - 1), "bmp_top_down": (2**31 - 1, -1000)}.items():
        info = struct.pack("<IiiHHIIiiII", 40, *size, 1, 24, 0, 0, 0, 0, 0, 0)
        yield giant(name, struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54) + info)
    screen = b"GIF89a" + b"\xff" * 4 + bytes(3)
    image = b"\x2c" + bytes(4) + b"\xff" * 4 + b"\0\x02\x02\x4c\x01\0;"
    yield giant("gif", screen + image)
    for name, side in {"tiff": 60_000, "tiff_32_bits": 2**32 - 1}.items():
        rows = zlib.compress(bytes(MB))
        yield giant(name, tiff_of_parts([rows], (side, side), 1, tags={259: 8}))
    tile = {273: None, 278: None, 279: None, 322: 2**31, 323: 2**31, 324: 8, 325: 9}
    bad = tiff_of_parts([bytes(9)], (8, 8), 8, tags=tile)
    yield Case(name="tiff_giant_tile", data=bad, code="damaged")
    long = struct.pack("<2sIHHII", b"BM", 54, 0, 0, 54, 2**31) + bytes(40)
    yield Case(name="bmp_long_header", data=long, code="damaged")
    text = "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999, 99999999), }"
    yield Case(name="npy_giant", data=npy_header(text, bytes(100)), code="truncated")


def giant(name: str, data: bytes) -> Case:
    """Return a case of too many pixels."""
    return Case(name=f"giant_{name}", data=data, code="too_many_pixels")


def animations() -> Iterator[Case]:
    """Yield 1,000 frames in each format that has frames."""
    frames = [Pillow.new("RGB", (8, 8), (n % 256, n // 256, 0)) for n in range(1000)]
    for kind, code in {"GIF": None, "TIFF": None, "PNG": "animated", "WEBP": "animated"}.items():
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        yield Case(name=f"frames_{kind.lower()}", data=data, code=code)


def stuffed_jpegs() -> Iterator[Case]:
    """Yield small JPEGs with much metadata, or many parts."""
    plain = flat_jpeg((16, 16))
    grey = np.full((16, 16, 3), 128, np.uint8)
    many = [segment(0xE1, b"Exif\0\0" + bytes(65_000))] * 400
    shared = b"".join(struct.pack("<HHII", n, 7, 60_000, 8) for n in range(1, 5001))
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 5000) + shared + bytes(3000)
    pieces = [b"ICC_PROFILE\0" + bytes((n, 255)) + bytes(65_000) for n in range(1, 256)]
    sound = {
        "exif": with_segments(plain, *many),
        "exif_shared": with_segments(plain, segment(0xE1, block)),
        "exif_count": with_segments(plain, segment(0xE1, exif(1).replace(b"\1\0", b"\xff\xff", 1))),
        "profile": with_segments(plain, *(segment(0xE2, piece) for piece in pieces)),
        "behind": plain + bytes(30 * MB),
    }
    for name, data in sound.items():
        yield Case(name=f"jpeg_much_{name}", data=data, pixels=grey)
    parts = with_segments(plain, segment(0xE2, b"") * (2 * MB))
    yield Case(name="jpeg_many_segments", data=parts, code="too_many_parts")
    slow = saved(Pillow.new("L", (2000, 2000)), "JPEG", progressive=True)
    scan = slow[slow.rindex(b"\xff\xc4") : -2]  # the last, with its Huffman table
    scans = slow[:-2] + scan * 1000 + END
    yield Case(name="jpeg_many_scans", data=scans, code="too_many_parts")


def stuffed_pngs() -> Iterator[Case]:
    """Yield small PNGs whose texts, profile or picture are large, or unpack to hundreds of MB."""
    pixels = noise(8, 8)
    plain = saved(pixels, "PNG")
    wide = zlib.compress(("\N{GRINNING FACE}" + "a" * (MB - 8)).encode())  # 4 bytes a letter
    packed = zeroes_packed(200 * MB)
    extra = {
        "zipped_text": chunk(b"zTXt", b"k\0\0" + packed),
        "zipped_texts": b"".join(chunk(b"iTXt", b"%d\0\1\0\0\0" % n + wide) for n in range(60)),
        "text": chunk(b"tEXt", b"k\0" + b"a" * (30 * MB)),
        "exif": chunk(b"eXIf", exif(1)[6:] + bytes(30 * MB)),
        "profile": chunk(b"iCCP", b"k\0\0" + packed),
    }
    for name, chunks in extra.items():
        data = plain[:33] + chunks + plain[33:]
        yield Case(name=f"png_much_{name}", data=data, pixels=pixels)
    surplus = png_of_packed(packed, (8, 8), depth=8)
    yield Case(name="png_much_picture", data=surplus, pixels=np.zeros((8, 8, 3), np.uint8))
    parts = plain[:33] + chunk(b"teXt", b"") * (MB // 4) + plain[33:]
    yield Case(name="png_many_chunks", data=parts, code="too_many_parts")


def stuffed_webps() -> Iterator[Case]:
    """Yield small WebPs with much metadata."""
    pixels = noise(8, 8)
    for name in ("exif", "xmp", "icc_profile"):
        data = saved(pixels, "WEBP", lossless=True, **{name: exif(1) + bytes(30 * MB)})
        yield Case(name=f"webp_much_{name}", data=data, pixels=pixels)


def stuffed_others() -> Iterator[Case]:
    """Yield small GIFs and TIFFs with much metadata, many parts, or much packed data."""
    pixels = noise(8, 8)
    gif = saved(pixels, "GIF")
    shown = np.asarray(Pillow.open(io.BytesIO(gif)).convert("RGB"))
    comment = b"\x21\xfe" + (b"\xff" + bytes(255)) * (30 * MB // 256) + b"\0"
    yield Case(name="gif_much_comment", data=gif[:-1] + comment + b";", pixels=shown)
    parts = gif[:-1] + b"\x21\xfe\0" * MB + b";"
    yield Case(name="gif_many_blocks", data=parts, code="too_many_parts")
    much = {700: [7] * (7 * MB), 65000: [8] * 1000}
    yield Case(name="tiff_much_metadata", data=tiff(pixels, tags=much), pixels=pixels)
    packed = tiff_of_parts([zeroes_packed(200 * MB)], (8, 8), 8, tags={259: 8})
    yield Case(name="tiff_much_packed", data=packed, pixels=np.zeros((8, 8, 3), np.uint8))
    shared = tiff(pixels, tags={273: [8] * 99_999, 279: [30 * MB] * 99_999})
    yield Case(name="tiff_many_strips_of_one_row", data=shared, code="damaged")


def png_of_packed(rows: bytes, size: tuple[int, int], depth: int) -> bytes:
    """Return a grey PNG of rows that are packed already."""
    header = struct.pack(">IIBBBBB", *size, depth, 0, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def zeroes_packed(count: int) -> bytes:
    """Pack zeroes, a thousandth of what they were, without ever having them all."""
    packer, block = zlib.compressobj(9), bytes(MB)
    parts = [packer.compress(block) for _ in range(count // MB)]
    return b"".join([*parts, packer.compress(bytes(count % MB)), packer.flush()])
