"""Bytes of a JPEG → its header; a warning of its decoder → whether the pixels are right.

This module guarantees:

- `read_jpeg` returns a Header only if the file has a frame of a supported kind, at least one scan
  and the end mark. It raises an exception for any other file, and `decode` makes it a Fault.
- The work is bounded: at most MAX_PARTS segments and MAX_SCANS scans are read.

A JPEG is a list of segments. A segment has a marker (0xFF and one more byte) and a length. The
pixel data of a scan follows its segment and has no length. Three examples:

- The EOI marker (end of image) is missing: Fault truncated.
- The file has 200 scans of a few bytes each: Fault too_many_parts, because the decoder passes over
  all pixels once per scan.
- A second picture follows after the EOI marker: only the first picture is decoded.

T.81 is the JPEG standard: ITU-T Recommendation T.81 (1992).
"""

import re
import struct
from collections.abc import Iterator

from components.images.fault import Facts, Fault
from components.images.headers import (
    EMPTY,
    MAX_PARTS,
    Header,
    orientation,
    overrun,
    tiff_value,
)

# The marker of a segment. Within the data of a scan, 0xFF is also followed by 0x00 (a stuffed byte)
# or by a restart marker; both are skipped (T.81, B.1.1).
MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd8])")
SOS, EOI, APP1, APP2 = 0xDA, 0xD9, 0xE1, 0xE2
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
DCT_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # sequential or progressive, not lossless
JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}

PICTURES = 0xB001  # MPF tag: the number of pictures in the file (CIPA DC-007)
# A scan of a few bytes still takes 20 ms for 50 megapixels. Usual programs write about 10 scans.
MAX_SCANS = 100

# Some warnings of libjpeg-turbo do not affect the pixels. They are about header fields that are not
# needed for decoding (a comment in its source mentions "some baseline files out there" with wrong
# SOS parameters), about a broken colour profile, or about a rare subsampling that has no name in
# simplejpeg.
HARMLESS = re.compile(
    r"JFIF revision|Adobe color transform|SOS parameters for sequential|bad ICC|subsampling level"
)
# Unread bytes at the end of a scan are the most frequent sign of damage in the scan: the decoder
# reads on at a wrong bit after the damage and reaches the last pixel too early. The exception is a
# few zero bytes, which some cameras write after a scan. Zero bytes cannot be the end of the scan
# itself, because its last byte ends with 1 bits (T.81, F.1.2.3).
SURPLUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
MAX_PADDING = 16  # zero bytes after a scan


def read_jpeg(data: bytes) -> Header:
    """Read the header of a JPEG (T.81, annex B).

    Raises Fault truncated, damaged, too_many_parts or unsupported_format. `decode` makes any other
    exception a Fault.
    """
    view, scans, frame = memoryview(data), 0, b""
    frames, exif, icc, end = 1, EMPTY, list[memoryview](), 0
    for marker, start, end in _segments(data):
        scans += marker == SOS
        if scans > MAX_SCANS:
            raise Fault("too_many_parts", f"more than {MAX_SCANS} scans over one picture")
        if marker in FRAMES and not frame:  # the first frame is used
            frame = data[start - 3 : end]
        elif marker == APP1 and not exif and data.startswith(b"Exif\0\0", start):
            exif = view[start:end]
        elif marker == APP2 and data.startswith(b"ICC_PROFILE\0", start):
            icc.append(view[start + 12 : end])
        elif marker == APP2 and data.startswith(b"MPF\0", start):
            frames = tiff_value(view[start + 4 : end], PICTURES) or 1
    if not frame or not scans:
        raise Fault("damaged", "it has no picture between its start and its end")
    kind, _, depth, height, width, channels = struct.unpack_from(">BHBHHB", frame)
    if kind not in DCT_FRAMES or depth != 8 or channels not in JPEG_MODES:
        what = f"process {kind - 0xC0}, {depth} bits, {channels} channels"
        raise Fault("unsupported_format", f"a JPEG of a rare kind ({what})")
    facts = Facts(
        format="jpeg",
        width=width,
        height=height,
        mode=JPEG_MODES[channels],
        bit_depth=depth,
        frames=frames,
        orientation=orientation(exif),
    )
    return Header(facts=facts, icc=_sort_profile(icc), end=end)


def is_harmless(warning: str, data: bytes, end: int) -> bool:
    """Return whether every pixel is right in spite of this warning of libjpeg-turbo.

    end: offset in bytes of the EOI marker in `data`.
    """
    surplus = SURPLUS.search(warning)
    if surplus is None:
        return HARMLESS.search(warning) is not None
    count = int(surplus[1])
    return count <= MAX_PADDING and not any(data[end - count : end])


def without_metadata(data: bytes) -> bytes:
    """Return a JPEG without segments APP1 and APP2: EXIF, colour profile, list of more pictures."""
    kept, begin = list[memoryview](), 0
    for marker, start, end in _segments(data):
        if marker in (APP1, APP2):
            kept.append(memoryview(data)[begin : start - 4])
            begin = end
    return b"".join([*kept, data[begin:]])


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker of each segment, and the byte offsets of the start and end of its content.

    The last segment is EOI, the end of the picture. Bytes after EOI are ignored. Raises Fault if
    EOI is missing, if a length is wrong, or if there are more than MAX_PARTS segments.
    """
    position = 2
    for _ in range(MAX_PARTS):
        match = MARKER.search(data, position)  # skips the data of a scan
        if match is None:
            raise Fault("truncated", "its end is missing (no EOI marker)")
        marker, start = data[match.start(1)], match.end() + 2
        if marker == EOI:
            yield marker, match.start(), match.start()
            return
        position = match.end() + int.from_bytes(data[match.end() : start])
        # The length includes its own two bytes, so a length below 2 is wrong.
        if position < start or position > len(data):
            raise overrun(f"segment 0x{marker:02x}", data.find(b"\xff\xd9", start) < 0)
        yield marker, start, position
    raise Fault("too_many_parts", f"more than {MAX_PARTS} segments")


def _sort_profile(icc: list[memoryview]) -> tuple[memoryview, ...]:
    """Return the pieces of a colour profile, sorted by number, without the two number bytes.

    A piece begins with two bytes: its number, counted from 1, and the total number of pieces.
    Returns one empty piece if a piece is missing or repeated, or if there are more than 255.
    """
    numbered = {bytes(piece[:2]): piece[2:] for piece in icc}
    wanted = (
        [bytes((number, len(icc))) for number in range(1, 1 + len(icc))] if len(icc) < 256 else []
    )
    whole = sorted(numbered) == wanted
    return tuple(numbered[key] for key in wanted) if whole else (EMPTY,)
