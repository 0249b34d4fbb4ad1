"""Bytes of a PNG, WebP or BMP → its header; no pixel is decoded. jpeg.py does the same for JPEG.

This module guarantees for all input bytes:

- The facts (format, size, bit depth and so on) are read from the bytes of the file, not from its
  name.
- If the end of a PNG or WebP is missing, or if a checksum in a PNG is wrong, Fault is raised before
  a decoder starts. (A Fault says why an image is refused.) Without this check, a decoder may leave
  the missing part of the picture black and report no error. A BMP whose end is missing raises no
  Fault here; the field `cut` of its Header is True.
- Memory and time are bounded. At most MAX_PARTS parts are read, and every decompression has a
  maximum number of bytes.
- Pillow gets only the parts of a PNG or WebP that contain the picture. Pillow would also decompress
  the metadata, and 60 kB of compressed text can take 350 MB of memory.
- The EXIF orientation and the colour profile are the only metadata that is used.

A PNG or WebP is a list of chunks. A chunk has a length and a name. Three examples of a bad PNG:

- The last chunk, IEND, is missing. This raises Fault with the code `truncated`.
- The chunk IEND is present, but the length of the chunk IDAT goes beyond the end of the file. No
  byte is missing, so the length must be wrong. This raises Fault with the code `damaged`.
- The file has a million tiny chunks. This raises Fault with the code `too_many_parts`.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.images.fault import Facts, Fault

# The maximum number of parts (chunks or segments) in a file. This limits the needed memory, because
# a decoder needs about 100 bytes of memory for each part, even if the part has only 4 bytes.
MAX_PARTS = 100_000
MAX_PROFILE_BYTES = 16_000_000  # profiles for print may have about 10 MB

# The names of the chunks of a PNG that contain the picture.
PNG_PICTURE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}  # colour type → Pillow's mode
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type → number of channels
# The seven passes of an interlaced PNG: first column, first row, distance between columns, distance
# between rows (PNG specification, section 8.2).
ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
# The names of the chunks of a WebP that contain the picture.
WEBP_PICTURE = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"})
# The bits of the flags "alpha" and "animation" in a VP8X chunk. The remaining flags say which
# metadata the file has. The remaining flags are set to 0, because Pillow gets the file without its
# metadata.
WEBP_FLAGS = 0x12
BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})  # possible lengths of a header, in bytes

EMPTY = memoryview(b"")
ORIENTATION = 0x0112  # EXIF tag: how to rotate or mirror the stored picture for display (EXIF 2.32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Header:
    """What a file says about its picture, and the parts of the file that a decoder needs.

    facts: the facts about the picture. The width and the height are as stored, before the EXIF
    orientation is applied. The mode is None if only Pillow can determine it.
    picture: the bytes that Pillow decodes. They are the whole file, or only the parts that Pillow
    needs. Empty for JPEG and .npy.
    values: the pixels of a .npy file, uint8 or uint16, [H, W], [H, W, 3] or [H, W, 4]. None for
    other formats.
    icc: the pieces of the colour profile, as stored in the file. Empty if the file has no profile.
    end: the offset in bytes of the EOI marker (end of image) of a JPEG. 0 for other formats.
    cut: whether a BMP is shorter than its header says. False for other formats. The picture may be
    complete even if `cut` is True, so the BMP is decoded. If the decoder then fails, the code of
    the Fault is `truncated`.
    inverted: whether 0 is white in a TIFF of 16 bits. False for all other files.
    """

    facts: Facts
    picture: bytes = b""
    values: NDArray[np.uint8] | NDArray[np.uint16] | None = None
    icc: tuple[memoryview, ...] = ()
    end: int = 0
    cut: bool = False
    inverted: bool = False


def colour_profile(header: Header) -> bytes:
    """Return the bytes of the embedded ICC profile, decompressed.

    Returns b"" if the file has no profile, if the profile has more than MAX_PROFILE_BYTES bytes, or
    if it cannot be decompressed. The content of the profile is not checked here.
    """
    if sum(map(len, header.icc)) > MAX_PROFILE_BYTES:
        return b""
    stored = b"".join(header.icc)
    if header.facts.format != "png":
        return stored
    # A PNG stores four things in this order: the name of the profile, a zero byte, the compression
    # method (always 0), and the compressed profile.
    _, _, packed = stored.partition(b"\0")
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
    # If `eof` is False, the profile is larger than the maximum, or its last bytes are missing.
    return profile if inflater.eof else b""


def orientation(exif: memoryview) -> int:
    """Return the EXIF orientation, 1 to 8. A missing or invalid orientation gives 1 (no change).

    exif: the bytes of the EXIF metadata, with or without the prefix `Exif`. May be empty.
    """
    block = exif[6:] if bytes(exif[:6]) == b"Exif\0\0" else exif
    value = tiff_value(block, ORIENTATION)
    return value if value is not None and 1 <= value <= 8 else 1


def tiff_value(block: memoryview, tag: int) -> int | None:
    """Return the integer value of a tag in the first directory of a TIFF block.

    block: the bytes of the TIFF block. EXIF and MPF metadata are stored as TIFF blocks.
    tag: the number of the tag.

    Returns None if the tag is missing, if its value is not an integer of 1, 2 or 4 bytes, or if the
    block is broken. A broken block raises no Fault, because the picture can be decoded without the
    block.
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
    """Return the Fault for a part whose length goes beyond the end of the file.

    part: the name of the part, for the text of the Fault.
    cut: whether the end of the file is missing. If True, the code of the Fault is `truncated`. If
    False, the length of the part must be wrong, and the code is `damaged`.
    """
    if cut:
        return Fault("truncated", f"{part} is longer than the rest of the file")
    return Fault("damaged", f"the length of {part} is wrong")


def read_png(data: bytes) -> Header:
    """Read the header of a PNG (PNG specification, third edition).

    Raises Fault with the code `truncated`, `damaged` or `too_many_parts`. Bad bytes may also cause
    exceptions of other types. The function `decode` converts these exceptions to a Fault.
    """
    view, chunks, picture = memoryview(data), dict[bytes, memoryview](), list[memoryview]()
    for name, start, end in _png_chunks(data):
        chunks.setdefault(name, view[start + 8 : end - 4])  # keep the first chunk of this name
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
    if chunks.keys() <= PNG_PICTURE:  # without metadata, no copy is needed
        return Header(facts=facts, picture=data, icc=icc)
    return Header(facts=facts, picture=b"".join([data[:8], *picture]), icc=icc)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of each chunk up to IEND, and the offsets in bytes of its start and its end.

    Raises Fault if IEND is missing, if a length or a checksum is wrong, or if there are more than
    MAX_PARTS chunks.
    """
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
    """Return the number of pictures in a PNG. The result is 1 if the PNG is not animated.

    chunks: name → content of the first chunk with this name, in the order of the file.

    The chunk acTL of an animated PNG contains the number of frames. If a frame control chunk (fcTL)
    is before the chunk IDAT, then IDAT is the first frame. Otherwise IDAT is an additional picture
    for programs that cannot show animations, so 1 is added.
    """
    frames = int.from_bytes(chunks.get(b"acTL", b"")[:4])
    order = list(chunks)
    is_frame = b"fcTL" in chunks and order.index(b"fcTL") < order.index(b"IDAT")
    return frames + (not is_frame) if frames else 1


def lacks_rows(data: bytes, facts: Facts) -> bool:
    """Return whether a PNG contains fewer rows than its header says.

    data: the bytes of the whole file.
    facts: the facts that `read_png` returned for this file.

    Pillow does not report missing rows. Pillow leaves missing rows black.
    """
    width, height = facts.width or 0, facts.height or 0
    sizes = [(width, height)]
    if data[28]:  # an interlaced PNG stores seven smaller pictures, one for each pass
        sizes = [
            (-(-(width - x) // right), -(-(height - y) // down)) for x, y, right, down in ADAM7
        ]
    bits = (facts.bit_depth or 0) * PNG_CHANNELS[data[25]]
    needed = sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0)
    return _png_bytes(data, needed) < needed


def _png_bytes(data: bytes, enough: int) -> int:
    """Decompress all IDAT chunks and return the number of decompressed bytes.

    enough: the number of bytes after which the decompression stops.
    """
    inflater, count = zlib.decompressobj(), 0
    for name, start, end in _png_chunks(data):
        piece = data[start + 8 : end - 4] if name == b"IDAT" else b""
        while piece and count < enough:
            count += len(inflater.decompress(piece, 2**20))
            piece = inflater.unconsumed_tail
    return count


def read_webp(data: bytes) -> Header:
    """Read the header of a WebP (RFC 9649).

    Raises Fault with the code `truncated`, `damaged` or `too_many_parts`. Bad bytes may also cause
    exceptions of other types. The function `decode` converts these exceptions to a Fault.
    """
    view, chunks, frames = memoryview(data), dict[bytes, memoryview](), 0
    picture: list[bytes | memoryview] = [b"WEBP"]
    for name, start, end in _webp_chunks(data):
        chunks.setdefault(name, view[start + 8 : end])  # keep the first chunk of this name
        frames += name == b"ANMF"
        if name == b"VP8X":
            flags = bytes((data[start + 8] & WEBP_FLAGS,))
            picture += [data[start : start + 8], flags, data[start + 9 : end]]
        elif name in WEBP_PICTURE:
            picture += [view[start:end], bytes((end - start) % 2)]  # with padding, if needed
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
    """Yield the name of each chunk, and the offsets in bytes of its start and its end.

    A chunk with an odd length is followed by a padding byte, which is not part of the chunk. The
    padding byte of the last chunk may be missing. Raises Fault if other bytes are missing, if a
    length is wrong, or if there are more than MAX_PARTS chunks.
    """
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
    """Return the width and the height of a WebP in pixels (RFC 9649).

    chunks: name → content of the first chunk with this name.

    A file with metadata, alpha or animation has a chunk VP8X, which contains the size. A file
    without a chunk VP8X has only a chunk with a lossless picture (VP8L) or with a lossy picture
    (VP8 ). The three kinds of chunks encode the size in different ways. Raises Fault with the code
    `damaged` if the file has none of these chunks.
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
    """Read the header of a Windows or OS/2 BMP.

    Raises Fault with the code `truncated` if bytes of the header are missing. Raises Fault with the
    code `damaged` if no kind of BMP has a header of the stated length.
    """
    kind, compression = int.from_bytes(data[14:18], "little"), 0
    if len(data) >= 18 and kind not in BMP_HEADERS:
        raise Fault("damaged", f"no BMP has a header of {kind} bytes")
    if len(data) < max(18, 14 + kind):
        raise Fault("truncated", "the end of its header is missing")
    size, offset = struct.unpack_from("<I4xI", data, 2)
    if kind == 12:  # OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits, compression = struct.unpack_from("<IiHHI", data, 18)
    rows = (width * bits + 31) // 32 * 4 * abs(height)
    # If the pixels are not compressed, `compression` is 0 or 3, and the needed length of the file
    # can be computed. For any other value, the length that the header states is used.
    needed = offset + rows if compression in (0, 3) else size
    facts = Facts(
        format="bmp", width=width, height=abs(height), bit_depth=8, frames=1, orientation=1
    )
    return Header(facts=facts, picture=data, cut=needed > len(data))
