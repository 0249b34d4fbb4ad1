"""Bytes of a JPEG → what they say of its picture; warnings of its decoder → damage or harmless.

T.81 is the standard of JPEG: ITU-T Recommendation T.81 (1992).
"""

import re
import struct
from collections.abc import Iterator

from components.images.formats import Facts, Fault
from components.images.headers import (
    EMPTY,
    MAX_PARTS,
    Header,
    orientation,
    overrun,
    tiff_value,
)

# A marker of a JPEG that is neither a restart nor a stuffed byte within a scan (T.81, B.1.1).
MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd8])")
SOS, EOI, APP1, APP2 = 0xDA, 0xD9, 0xE1, 0xE2
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
DCT_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # sequential and progressive; not lossless
JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}

PICTURES = 0xB001  # CIPA DC-007: how many pictures a JPEG holds
MAX_SCANS = 100  # each takes 20 ms for 50 megapixels, however few its bytes; writers make ten

# What libjpeg-turbo warns of although every pixel is right: header fields that nothing depends on
# ("there are some baseline files out there" without SOS parameters, its source says), and a broken
# colour profile. And it has no name for rare samplings, which is no word about the bytes.
HARMLESS = re.compile(
    r"JFIF revision|Adobe color transform|SOS parameters for sequential|bad ICC|subsampling level"
)
# Bytes that a scan did not need are the commonest trace of damage within it: decoding went on out
# of step, and came to the end too early. Only zeroes are padding, as some cameras write it: the
# last byte of a scan is filled up with ones (T.81, F.1.2.3), so zeroes cannot belong to it.
SURPLUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
MAX_PADDING = 16


def read_jpeg(data: bytes) -> Header:
    """Read the header of a JPEG (T.81, annex B)."""
    view, scans, frame = memoryview(data), 0, b""
    frames, exif, icc, end = 1, EMPTY, list[memoryview](), 0
    for marker, start, end in _segments(data):
        scans += marker == SOS
        if scans > MAX_SCANS:
            raise Fault("too_many_parts", f"more than {MAX_SCANS} scans over one picture")
        if marker in FRAMES and not frame:
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
    return Header(facts=facts, icc=_in_order(icc), end=end)


def is_harmless(warning: str, data: bytes, end: int) -> bool:
    """Tell whether a warning of libjpeg-turbo leaves every pixel as it should be.

    end: the byte at which the picture ends, where its EOI marker stands.
    """
    found = SURPLUS.search(warning)
    if found is None:
        return HARMLESS.search(warning) is not None
    count = int(found[1])
    return count <= MAX_PADDING and not any(data[end - count : end])


def picture_alone(data: bytes) -> bytes:
    """Return a JPEG without its EXIF, its colour profile and its list of further pictures."""
    kept, begin = list[memoryview](), 0
    for marker, start, end in _segments(data):
        if marker in (APP1, APP2):
            kept.append(memoryview(data)[begin : start - 4])
            begin = end
    return b"".join([*kept, data[begin:]])


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield each segment of a JPEG: its marker, where its content starts and where it ends.

    The last is EOI, where the picture ends; there a file may go on with anything.
    """
    position = 2
    for _ in range(MAX_PARTS):
        found = MARKER.search(data, position)
        if found is None:
            raise Fault("truncated", "its end is missing (no EOI marker)")
        marker, start = data[found.start(1)], found.end() + 2
        if marker == EOI:
            yield marker, found.start(), found.start()
            return
        position = found.end() + int.from_bytes(data[found.end() : start])
        if position < start or position > len(data):
            raise overrun(f"segment 0x{marker:02x}", data.find(b"\xff\xd9", start) < 0)
        yield marker, start, position
    raise Fault("too_many_parts", f"more than {MAX_PARTS} segments")


def _in_order(icc: list[memoryview]) -> tuple[memoryview, ...]:
    """Sort the pieces of a profile, which start with their number and how many they are.

    Returns one empty piece where some are missing.
    """
    numbered = {bytes(piece[:2]): piece[2:] for piece in icc}
    wanted = (
        [bytes((number, len(icc))) for number in range(1, 1 + len(icc))] if len(icc) < 256 else []
    )
    whole = sorted(numbered) == wanted
    return tuple(numbered[key] for key in wanted) if whole else (EMPTY,)
