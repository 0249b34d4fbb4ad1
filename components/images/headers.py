"""Bytes of a PNG, WebP or BMP → its header, before anything is decoded; that of JPEG is in jpeg.py.

Guaranteed, for whatever bytes:

- The facts are those of the file itself. A part that is missing, or a checksum that is wrong, is a
  Fault before a decoder starts; a decoder might leave the missing part black without a word.
- Memory and time are bounded: at most MAX_PARTS parts are looked at, and none is unpacked beyond a
  bound. Pillow is given the picture's own parts alone: 60 kB of compressed text may become 350 MB
  there. Of the metadata two things are used: the orientation in EXIF, and the colour profile.

A PNG or WebP is a list of chunks, each with a length and a name. Three PNGs: one without its last
chunk, IEND, is truncated; one with IEND whose IDAT chunk has a length beyond the end is damaged,
since bytes are not missing but wrong; one with a million tiny chunks is refused as too_many_parts.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.images.fault import Facts, Fault

MAX_PARTS = 100_000  # of a file; decoders use some 100 bytes of memory for a part of four bytes
MAX_PROFILE_BYTES = 16_000_000  # the largest profiles in use, for print, have some 10 MB

PNG_PICTURE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}  # by colour type
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Of each pass of an interlaced PNG: first column and row, steps to the right and down (PNG, 8.2).
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
WEBP_FLAGS = 0x12  # of VP8X: alpha and animation; those of metadata, which is left out, are cleared
BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})

EMPTY = memoryview(b"")
ORIENTATION = 0x0112  # EXIF 2.32: how the stored picture must be turned to be upright


@dataclass(frozen=True, kw_only=True, eq=False)
class Header:
    """What a file says of its picture, and its parts that a decoder needs.

    facts: as stored; mode is None where only Pillow finds it out. picture: the file, or the parts
    of it that Pillow needs. values: of a .npy file, uint8 [H, W], [H, W, 3] or [H, W, 4]. icc: the
    colour profile in pieces, as stored. end: the byte at which the picture of a JPEG ends. cut:
    whether the file is shorter than it should be; only a decoder sees whether that matters.
    """

    facts: Facts
    picture: bytes = b""
    values: NDArray[np.uint8] | None = None
    icc: tuple[memoryview, ...] = ()
    end: int = 0
    cut: bool = False


def colour_profile(header: Header) -> bytes:
    """Return the embedded ICC profile, empty where there is none, or it is too large or broken."""
    if sum(map(len, header.icc)) > MAX_PROFILE_BYTES:
        return b""
    stored = b"".join(header.icc)
    if header.facts.format != "png":
        return stored
    # In a PNG: a name, a zero byte, the compression method (always 0), the compressed profile.
    _, _, packed = stored.partition(b"\0")
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
    return profile if inflater.eof else b""  # not at its end: larger than the bound, or cut


def orientation(exif: memoryview) -> int:
    """Return the EXIF orientation, 1 to 8; 1, which is upright, where it is missing or invalid."""
    block = exif[6:] if bytes(exif[:6]) == b"Exif\0\0" else exif
    value = tiff_value(block, ORIENTATION)
    return value if value is not None and 1 <= value <= 8 else 1


def tiff_value(block: memoryview, tag: int) -> int | None:
    """Return a whole number of the first directory of a TIFF block, as EXIF and MPF are.

    None where the tag is missing or the block broken: the picture itself is sound all the same.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(block[:2]), "=")
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            entry_tag, kind = struct.unpack_from(f"{order}HH", block, entry)
            if entry_tag == tag:
                size = {1: "B", 3: "H", 4: "I"}[kind]
                return int(struct.unpack_from(order + size, block, entry + 8)[0])
    except (struct.error, KeyError):
        pass
    return None


def overrun(part: str, cut: bool) -> Fault:
    """Return the Fault of a part that goes on behind the end of the file.

    cut: whether the end mark of the format is missing, too. Then the file was cut off; else the
    length of the part is wrong.
    """
    if cut:
        return Fault("truncated", f"{part} goes on after the end of the file")
    return Fault("damaged", f"the length of {part} is wrong")


def read_png(data: bytes) -> Header:
    """Read the header of a PNG (PNG specification, third edition)."""
    view, chunks, picture = memoryview(data), dict[bytes, memoryview](), list[memoryview]()
    for name, start, end in _png_chunks(data):
        chunks.setdefault(name, view[start + 8 : end - 4])  # of several the first counts
        if name in PNG_PICTURE:
            picture.append(view[start:end])
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    mode = PNG_MODES.get(colour)
    first = next(iter(chunks))
    if first != b"IHDR" or b"IDAT" not in chunks or (mode == "P" and b"PLTE" not in chunks):
        raise Fault("damaged", "its header, its palette or its picture is missing")
    if mode is None:
        raise Fault("damaged", f"its header says colour type {colour}, which does not exist")
    facts = Facts(
        format="png",
        width=width,
        height=height,
        mode={(1, "L"): "1", (16, "L"): "I;16"}.get((depth, mode), mode),
        bit_depth=depth,
        frames=_png_frames(chunks),
        orientation=orientation(chunks.get(b"eXIf", EMPTY)),
    )
    icc = (chunks[b"iCCP"],) if b"iCCP" in chunks else ()
    if chunks.keys() <= PNG_PICTURE:  # no metadata, so nothing to copy
        return Header(facts=facts, picture=data, icc=icc)
    return Header(facts=facts, picture=b"".join([data[:8], *picture]), icc=icc)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each chunk up to IEND. Raises Fault for a wrong checksum."""
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


def _png_frames(chunks: dict[bytes, memoryview]) -> int:
    """Return the number of frames. chunks: the first of each name, in the order of the file.

    In an animated PNG the IDAT chunk is the first frame only if a frame control (fcTL) is before
    it; else it is a picture of its own, for programs that do not know animations.
    """
    frames = int.from_bytes(chunks.get(b"acTL", b"")[:4])
    order = list(chunks)
    is_frame = b"fcTL" in chunks and order.index(b"fcTL") < order.index(b"IDAT")
    return frames + (not is_frame) if frames else 1


def lacks_rows(data: bytes, facts: Facts) -> bool:
    """Return whether a PNG unpacks to fewer rows than its header says; Pillow leaves them black."""
    width, height = facts.width or 0, facts.height or 0
    sizes = [(width, height)]
    if data[28]:  # interlaced: seven pictures, one for each pass
        sizes = [
            (-(-(width - x) // right), -(-(height - y) // down)) for x, y, right, down in ADAM7
        ]
    bits = (facts.bit_depth or 0) * PNG_CHANNELS[data[25]]
    needed = sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0)
    return _png_bytes(data, needed) < needed


def _png_bytes(data: bytes, enough: int) -> int:
    """Return how many bytes the picture of a PNG unpacks to; counting stops at `enough`."""
    inflater, count = zlib.decompressobj(), 0
    for name, start, end in _png_chunks(data):
        piece = data[start + 8 : end - 4] if name == b"IDAT" else b""
        while piece and count < enough:
            count += len(inflater.decompress(piece, 2**20))
            piece = inflater.unconsumed_tail
    return count


def read_webp(data: bytes) -> Header:
    """Read the header of a WebP (RFC 9649)."""
    view, chunks, frames = memoryview(data), dict[bytes, memoryview](), 0
    picture: list[bytes | memoryview] = [b"WEBP"]
    for name, start, end in _webp_chunks(data):
        chunks.setdefault(name, view[start + 8 : end])  # of several the first counts
        frames += name == b"ANMF"
        if name == b"VP8X":
            flags = bytes((data[start + 8] & WEBP_FLAGS,))
            picture += [data[start : start + 8], flags, data[start + 9 : end]]
        elif name in WEBP_PICTURE:
            picture += [view[start:end], bytes((end - start) % 2)]  # padded to an even length
    width, height = _webp_size(chunks)
    facts = Facts(
        format="webp",
        width=width,
        height=height,
        bit_depth=8,
        frames=max(1, frames),
        orientation=orientation(chunks.get(b"EXIF", EMPTY)),
    )
    content = b"".join(picture)
    file = b"RIFF" + len(content).to_bytes(4, "little") + content
    icc = (chunks[b"ICCP"],) if b"ICCP" in chunks else ()
    return Header(facts=facts, picture=file, icc=icc)


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each chunk; the last one may lack its padding byte."""
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


def _webp_size(chunks: dict[bytes, memoryview]) -> tuple[int, int]:
    """Return width and height in pixels (RFC 9649).

    A file has a canvas (VP8X: metadata, alpha or animation), or a lossless (VP8L) or lossy (VP8 )
    picture alone; each writes its size in another way.
    """
    if b"VP8X" in chunks:
        canvas = chunks[b"VP8X"]
        return 1 + int.from_bytes(canvas[4:7], "little"), 1 + int.from_bytes(canvas[7:10], "little")
    if b"VP8L" in chunks:
        (bits,) = struct.unpack_from("<I", chunks[b"VP8L"], 1)
        return 1 + bits % 2**14, 1 + (bits >> 14) % 2**14
    if b"VP8 " not in chunks:
        raise Fault("damaged", "it has no picture chunk")
    width, height = struct.unpack_from("<HH", chunks[b"VP8 "], 6)
    return width % 2**14, height % 2**14


def read_bmp(data: bytes) -> Header:
    """Read the header of a BMP, of Windows or OS/2."""
    kind, compression = int.from_bytes(data[14:18], "little"), 0
    if len(data) >= 18 and kind not in BMP_HEADERS:
        raise Fault("damaged", f"its header says that it is {kind} bytes long")
    if len(data) < max(18, 14 + kind):
        raise Fault("truncated", "the end of its header is missing")
    size, offset = struct.unpack_from("<I4xI", data, 2)
    if kind == 12:  # OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits, compression = struct.unpack_from("<IiHHI", data, 18)
    rows = (width * bits + 31) // 32 * 4 * abs(height)
    # Compressions 1 and 2 are run lengths: only the header knows how long such a file is.
    needed = offset + rows if compression in (0, 3) else size
    facts = Facts(
        format="bmp", width=width, height=abs(height), bit_depth=8, frames=1, orientation=1
    )
    return Header(facts=facts, picture=data, cut=needed > len(data))
