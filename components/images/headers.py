"""Bytes of an image file → what it says of its picture, before anything is decoded.

The parts of a file (segments of a JPEG, chunks of a PNG or WebP) are walked once:

- What is missing or contradicts itself is a fault before a decoder starts. Checksums are checked.
- Metadata is not shown to Pillow: 60 kB of compressed text grow to 350 MB there, and none of it is
  the picture. Two things of it are used: the orientation in EXIF, and the colour profile.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.images.formats import Facts, Fault

MAX_PARTS = 100_000  # of one file; a decoder keeps some 100 bytes for many a part of four bytes
MAX_PROFILE_BYTES = 16_000_000  # the largest in use, for print, have some 10 MB

PNG_PICTURE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}  # by colour type
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# First column and row, step right and down of each pass (PNG specification, 8.2).
ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
WEBP_PICTURE = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"})
WEBP_FLAGS = 0x12  # of VP8X: alpha and animation, and not the metadata that was left out
BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})

EMPTY = memoryview(b"")
ORIENTATION = 0x0112  # EXIF 2.32: how the stored picture must be turned to stand upright


@dataclass(frozen=True, kw_only=True, eq=False)
class Header:
    """What a file says of its picture, and where its parts are.

    facts: as stored; mode is None where only Pillow can tell. picture: the file, or
    of it what Pillow needs. values: uint8 [H, W], [H, W, 3] or [H, W, 4] of a .npy
    file. icc: the colour profile in pieces, as stored. end: the byte at which the picture of a JPEG
    ends. cut: if it cannot be decoded, it is because bytes are missing.
    """

    facts: Facts
    picture: bytes = b""
    values: NDArray[np.uint8] | None = None
    icc: tuple[memoryview, ...] = ()
    end: int = 0
    cut: bool = False


def colour_profile(header: Header) -> bytes:
    """Return the embedded ICC profile, empty where there is none or not a whole one."""
    if sum(map(len, header.icc)) > MAX_PROFILE_BYTES:
        return b""
    stored = b"".join(header.icc)
    if header.facts.format != "png":
        return stored
    _, _, packed = stored.partition(b"\0")  # its name, then 0, then the way of packing, also 0
    unpacked = zlib.decompressobj()
    try:
        profile = unpacked.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
    return profile if unpacked.eof else b""


def orientation(exif: memoryview) -> int:
    """Return the EXIF orientation, from 1 to 8; 1, upright, where none or nonsense is given."""
    block = exif[6:] if bytes(exif[:6]) == b"Exif\0\0" else exif
    value = tiff_value(block, ORIENTATION)
    return value if value is not None and 1 <= value <= 8 else 1


def tiff_value(block: memoryview, tag: int) -> int | None:
    """Return a whole number of the first directory of a TIFF block, as EXIF and MPF are.

    None where it is not there or the block is broken, which is no reason to lose a sound picture.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(block[:2]), "=")
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            found, kind = struct.unpack_from(f"{order}HH", block, entry)
            if found == tag:
                size = {1: "B", 3: "H", 4: "I"}[kind]
                return int(struct.unpack_from(order + size, block, entry + 8)[0])
    except (struct.error, KeyError):
        pass
    return None


def overrun(part: str, cut: bool) -> Fault:
    """Tell a missing end from a wrong length: after that the end mark still follows."""
    if cut:
        return Fault("truncated", f"{part} goes on after the end of the file")
    return Fault("damaged", f"the length of {part} is wrong")


def read_png(data: bytes) -> Header:
    """Read the header of a PNG (PNG specification, third edition)."""
    view, found, kept = memoryview(data), dict[bytes, memoryview](), list[memoryview]()
    for name, start, end in _png_chunks(data):
        found.setdefault(name, view[start + 8 : end - 4])
        if name in PNG_PICTURE:
            kept.append(view[start:end])
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    mode = PNG_MODES.get(colour)
    first = next(iter(found))
    if first != b"IHDR" or b"IDAT" not in found or (mode == "P" and b"PLTE" not in found):
        raise Fault("damaged", "its header, its palette or its picture is missing")
    if mode is None:
        raise Fault("damaged", f"its header says colour type {colour}, which does not exist")
    facts = Facts(
        format="png",
        width=width,
        height=height,
        mode={(1, "L"): "1", (16, "L"): "I;16"}.get((depth, mode), mode),
        bit_depth=depth,
        frames=_png_frames(found),
        orientation=orientation(found.get(b"eXIf", EMPTY)),
    )
    picture = data if found.keys() <= PNG_PICTURE else b"".join([data[:8], *kept])
    return Header(facts=facts, picture=picture, icc=tuple(found[n] for n in found if n == b"iCCP"))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, the start and the end of each chunk, whose checksum is right, up to IEND."""
    view, start = memoryview(data), 8
    for _ in range(MAX_PARTS):
        if start + 12 > len(data):
            raise Fault("truncated", "its end is missing (no IEND chunk)")
        length, name = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if end > len(data):
            raise overrun(f"chunk {name!r}", data.find(b"IEND\xaeB`\x82", start) < 0)
        if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise Fault("damaged", f"the checksum of chunk {name!r} at byte {start} is wrong")
        yield name, start, end
        if name == b"IEND":
            return
        start = end
    raise Fault("too_many_parts", f"more than {MAX_PARTS} chunks")


def _png_frames(found: dict[bytes, memoryview]) -> int:
    """Count the frames of an APNG; a picture ahead of the first frame control is one more."""
    animated = int.from_bytes(found.get(b"acTL", b"")[:4])
    order = list(found)
    inside = b"fcTL" in found and order.index(b"fcTL") < order.index(b"IDAT")
    return animated + (not inside) if animated else 1


def lacks_rows(data: bytes, facts: Facts) -> bool:
    """Tell whether a PNG unpacks to fewer rows than its header says, which Pillow leaves black."""
    width, height = facts.width or 0, facts.height or 0
    sizes = [(width, height)]
    if data[28]:
        sizes = [
            (-(-(width - x) // right), -(-(height - y) // down)) for x, y, right, down in ADAM7
        ]
    bits = (facts.bit_depth or 0) * PNG_CHANNELS[data[25]]
    needed = sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0)
    return _png_unpacked(data, needed) < needed


def _png_unpacked(data: bytes, enough: int) -> int:
    """Count the bytes that the picture of a PNG unpacks to, up to `enough`, piece by piece."""
    unpacked, count = zlib.decompressobj(), 0
    for name, start, end in _png_chunks(data):
        piece = data[start + 8 : end - 4] if name == b"IDAT" else b""
        while piece and count < enough:
            count += len(unpacked.decompress(piece, 2**20))
            piece = unpacked.unconsumed_tail
    return count


def read_webp(data: bytes) -> Header:
    """Read the header of a WebP (RFC 9649)."""
    view, found, frames = memoryview(data), dict[bytes, memoryview](), 0
    kept: list[bytes | memoryview] = [b"WEBP"]
    for name, start, end in _webp_chunks(data):
        found.setdefault(name, view[start + 8 : end])
        frames += name == b"ANMF"
        if name == b"VP8X":
            flags = bytes((data[start + 8] & WEBP_FLAGS,))
            kept += [data[start : start + 8], flags, data[start + 9 : end]]
        elif name in WEBP_PICTURE:
            kept += [view[start:end], bytes((end - start) % 2)]
    width, height = _webp_size(found)
    facts = Facts(
        format="webp",
        width=width,
        height=height,
        bit_depth=8,
        frames=max(1, frames),
        orientation=orientation(found.get(b"EXIF", EMPTY)),
    )
    content = b"".join(kept)
    picture = b"RIFF" + len(content).to_bytes(4, "little") + content
    return Header(facts=facts, picture=picture, icc=tuple(found[n] for n in found if n == b"ICCP"))


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, the start and the end of each chunk; a missing last pad byte is forgiven."""
    stop = 8 + int.from_bytes(data[4:8], "little")
    if stop > len(data) + 1:
        raise Fault("truncated", f"{stop - len(data)} of its {stop} bytes are missing")
    start = 12
    for _ in range(MAX_PARTS):
        if start + 8 > stop:
            return
        name, length = struct.unpack_from("<4sI", data, start)
        end = start + 8 + length
        if end > len(data):
            raise overrun(f"chunk {name!r}", cut=False)
        yield name, start, end
        start = end + length % 2
    raise Fault("too_many_parts", f"more than {MAX_PARTS} chunks")


def _webp_size(found: dict[bytes, memoryview]) -> tuple[int, int]:
    """Return width and height in pixels, of the canvas where there is one (RFC 9649)."""
    if b"VP8X" in found:
        canvas = found[b"VP8X"]
        return 1 + int.from_bytes(canvas[4:7], "little"), 1 + int.from_bytes(canvas[7:10], "little")
    if b"VP8L" in found:
        (bits,) = struct.unpack_from("<I", found[b"VP8L"], 1)
        return 1 + bits % 2**14, 1 + (bits >> 14) % 2**14
    if b"VP8 " not in found:
        raise Fault("damaged", "it has no picture chunk")
    width, height = struct.unpack_from("<HH", found[b"VP8 "], 6)
    return width % 2**14, height % 2**14


def read_bmp(data: bytes) -> Header:
    """Read the header of a BMP, of Windows or OS/2."""
    kind, compression = int.from_bytes(data[14:18], "little"), 0
    if len(data) >= 18 and kind not in BMP_HEADERS:
        raise Fault("damaged", f"its header says that it is {kind} bytes long")
    if len(data) < max(18, 14 + kind):
        raise Fault("truncated", "the end of its header is missing")
    size, offset = struct.unpack_from("<I4xI", data, 2)
    if kind == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits, compression = struct.unpack_from("<IiHHI", data, 18)
    rows = (width * bits + 31) // 32 * 4 * abs(height)
    needed = offset + rows if compression in (0, 3) else size  # 1 and 2 are run lengths
    facts = Facts(
        format="bmp", width=width, height=abs(height), bit_depth=8, frames=1, orientation=1
    )
    return Header(facts=facts, picture=data, cut=needed > len(data))
