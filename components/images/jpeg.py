"""Bytes of a JPEG → its header; a warning of its decoder → whether the pixels are right.

Guaranteed: `read_jpeg` returns a Header only of a file that has a frame of a kind that is decoded,
at least one scan and its end mark; of all others `decode` makes a Fault. The work is
bounded: MAX_PARTS segments, MAX_SCANS scans.

A JPEG is a chain of segments, each with a marker (0xFF and one byte) and, but for the scans' data,
a length. Three pictures: one whose EOI marker (end of image) is missing is truncated; one with 200
scans of a few bytes each is refused as too_many_parts, as each scan costs a pass over all pixels;
and one with a second picture behind its EOI marker is taken, its first picture alone.

T.81 is the standard of JPEG: ITU-T Recommendation T.81 (1992).
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

# A marker of a JPEG that is neither a restart nor a stuffed byte within a scan (T.81, B.1.1).
MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd8])")
SOS, EOI, APP1, APP2 = 0xDA, 0xD9, 0xE1, 0xE2
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
DCT_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # sequential and progressive; not lossless
JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}

PICTURES = 0xB001  # tag of the number of pictures in the file (CIPA DC-007)
MAX_SCANS = 100  # each takes 20 ms for 50 megapixels, however few its bytes; programs write ten

# Warnings of libjpeg-turbo after which every pixel is right: about header fields that nothing
# depends on (its source knows "some baseline files out there" without SOS parameters), about a
# broken colour profile, and about a rare subsampling, which simplejpeg has no name for.
HARMLESS = re.compile(
    r"JFIF revision|Adobe color transform|SOS parameters for sequential|bad ICC|subsampling level"
)
# Bytes that are left over at the end of a scan are the most frequent sign of damage within it:
# after it the decoder reads at the wrong bit and reaches the last pixel too early. Only a few
# zeroes are harmless, which some cameras write: the last byte of a scan ends in ones (T.81,
# F.1.2.3), so a byte of zeroes cannot belong to it.
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
        if marker in FRAMES and not frame:  # of several the first counts
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
    """Return whether every pixel is right although libjpeg-turbo gave this warning.

    end: the byte at which the picture's EOI marker is.
    """
    surplus = SURPLUS.search(warning)
    if surplus is None:
        return HARMLESS.search(warning) is not None
    count = int(surplus[1])
    return count <= MAX_PADDING and not any(data[end - count : end])


def without_metadata(data: bytes) -> bytes:
    """Return a JPEG without EXIF, colour profile and further pictures (segments APP1 and APP2)."""
    kept, begin = list[memoryview](), 0
    for marker, start, end in _segments(data):
        if marker in (APP1, APP2):
            kept.append(memoryview(data)[begin : start - 4])
            begin = end
    return b"".join([*kept, data[begin:]])


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield each segment of a JPEG: its marker, where its content starts and where it ends.

    The last one is EOI, the end of the picture; the file may go on behind it with anything.
    """
    position = 2
    for _ in range(MAX_PARTS):
        match = MARKER.search(data, position)  # passes over the data of a scan, too
        if match is None:
            raise Fault("truncated", "its end is missing (no EOI marker)")
        marker, start = data[match.start(1)], match.end() + 2
        if marker == EOI:
            yield marker, match.start(), match.start()
            return
        position = match.end() + int.from_bytes(data[match.end() : start])
        # A length counts its own two bytes, so one below 2 is wrong as well.
        if position < start or position > len(data):
            raise overrun(f"segment 0x{marker:02x}", data.find(b"\xff\xd9", start) < 0)
        yield marker, start, position
    raise Fault("too_many_parts", f"more than {MAX_PARTS} segments")


def _sort_profile(icc: list[memoryview]) -> tuple[memoryview, ...]:
    """Return the pieces of a colour profile in their order, without their numbers.

    A piece begins with two bytes: its number, from 1, and how many pieces there are. Where pieces
    are missing, there twice, or more than a byte can count, the profile is one empty piece.
    """
    numbered = {bytes(piece[:2]): piece[2:] for piece in icc}
    wanted = (
        [bytes((number, len(icc))) for number in range(1, 1 + len(icc))] if len(icc) < 256 else []
    )
    whole = sorted(numbered) == wanted
    return tuple(numbered[key] for key in wanted) if whole else (EMPTY,)
