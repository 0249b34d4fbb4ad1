"""Bytes of a JPEG → its header; a warning of the JPEG decoder → whether the pixels are right.

This module guarantees:

- `read_jpeg` returns a Header only if the file has a frame of a supported kind, at least one scan
  and the EOI marker (end of image). For any other file, `read_jpeg` raises an exception, and
  `decode` converts this exception to a Fault, which says why the image is refused.
- The work is bounded: at most MAX_PARTS segments and MAX_SCANS scans are read.

A JPEG is a list of segments. A segment starts with a marker (0xFF and one more byte) and a length.
A frame is a segment that states the size and the encoding of the picture. The picture is stored in
one or more scans. A scan is a segment that is followed by pixel data. The file does not state the
length of the pixel data, so this module searches for the end of each scan. Three examples of
unusual files, and what happens to them:

- The EOI marker is missing. This raises Fault with the code `truncated`.
- The file has 200 scans of a few bytes each. This raises Fault with the code `too_many_parts`,
  because the decoder needs time for all pixels of the picture in each scan.
- A second picture follows after the EOI marker. Only the first picture is decoded.

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

# Matches the marker of a segment. The pixel data of a scan may also contain 0xFF. In pixel data,
# the byte after 0xFF is 0x00 (a stuffed byte) or the second byte of a restart marker (T.81, B.1.1).
# The expression does not match these two cases.
MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd8])")
SOS, EOI, APP1, APP2 = 0xDA, 0xD9, 0xE1, 0xE2
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the markers of all kinds of frames
DCT_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # the markers of the supported frames
JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}

PICTURES = 0xB001  # MPF tag: the number of pictures in the file (CIPA DC-007)
# Decoding one scan of a picture with 50 megapixels takes 20 ms, even if the scan has only a few
# bytes. Usual programs write about 10 scans.
MAX_SCANS = 100

# The warnings of libjpeg-turbo after which the pixels are right. These warnings have three
# subjects: a broken colour profile, a rare subsampling that has no name in simplejpeg, and header
# fields that are not needed for decoding, such as the SOS parameters. A comment in the source of
# libjpeg-turbo says that the SOS parameters are wrong in some existing files.
HARMLESS = re.compile(
    r"JFIF revision|Adobe color transform|SOS parameters for sequential|bad ICC|subsampling level"
)
# Matches the warning that bytes at the end of a scan were not read. This warning is the most
# frequent sign of damage: after the damaged bytes, the decoder continues at a wrong bit and reaches
# the last pixel too early. But some cameras write a few zero bytes after a scan. If all unread
# bytes are zero, they do not belong to the scan, because the unused bits of the last byte of a scan
# are 1 (T.81, F.1.2.3). So the pixels are right.
SURPLUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
MAX_PADDING = 16  # the maximum number of zero bytes after a scan


def read_jpeg(data: bytes) -> Header:
    """Read the header of a JPEG (T.81, annex B).

    Raises Fault with the code `truncated`, `damaged`, `too_many_parts` or `unsupported_format`. Bad
    bytes may also cause exceptions of other types. The function `decode` converts these exceptions
    to a Fault.
    """
    view, scans, frame = memoryview(data), 0, b""
    frames, exif, icc, end = 1, EMPTY, list[memoryview](), 0
    for marker, start, end in _segments(data):
        scans += marker == SOS
        if scans > MAX_SCANS:
            raise Fault("too_many_parts", f"its picture has more than {MAX_SCANS} scans")
        if marker in FRAMES and not frame:  # only the first frame is used
            frame = data[start - 3 : end]
        elif marker == APP1 and not exif and data.startswith(b"Exif\0\0", start):
            exif = view[start:end]
        elif marker == APP2 and data.startswith(b"ICC_PROFILE\0", start):
            icc.append(view[start + 12 : end])
        elif marker == APP2 and data.startswith(b"MPF\0", start):
            frames = tiff_value(view[start + 4 : end], PICTURES) or 1
    if not frame or not scans:
        raise Fault("damaged", "its picture is missing (no frame or no scan)")
    kind, _, depth, height, width, channels = struct.unpack_from(">BHBHHB", frame)
    if kind not in DCT_FRAMES or depth != 8 or channels not in JPEG_MODES:
        what = f"process {kind - 0xC0}, {depth} bits, {channels} channels"
        raise Fault("unsupported_format", f"this rare kind of JPEG is not supported ({what})")
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
    """Return whether all pixels are right, although libjpeg-turbo gave a warning.

    warning: the text of the warning.
    data: the bytes of the whole file.
    end: the offset in bytes of the EOI marker in `data`.
    """
    surplus = SURPLUS.search(warning)
    if surplus is None:
        return HARMLESS.search(warning) is not None
    count = int(surplus[1])
    return count <= MAX_PADDING and not any(data[end - count : end])


def without_metadata(data: bytes) -> bytes:
    """Return a JPEG without its segments APP1 and APP2.

    The segments APP1 and APP2 contain the EXIF metadata, the colour profile, and the list of the
    pictures in the file.
    """
    kept, begin = list[memoryview](), 0
    for marker, start, end in _segments(data):
        if marker in (APP1, APP2):
            kept.append(memoryview(data)[begin : start - 4])
            begin = end
    return b"".join([*kept, data[begin:]])


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield each segment: the second byte of its marker, and the start and end of its content.

    Start and end are offsets in bytes. The last segment is EOI. EOI has no content, so its start
    and its end are the offset of its marker. Bytes after EOI are ignored. Raises Fault if EOI is
    missing, if a length is wrong, or if there are more than MAX_PARTS segments.
    """
    position = 2
    for _ in range(MAX_PARTS):
        match = MARKER.search(data, position)  # `search` skips the data of a scan
        if match is None:
            raise Fault("truncated", "its end is missing (no EOI marker)")
        marker, start = data[match.start(1)], match.end() + 2
        if marker == EOI:
            yield marker, match.start(), match.start()
            return
        position = match.end() + int.from_bytes(data[match.end() : start])
        # The two bytes of the length are included in the length, so a length below 2 is wrong.
        if position < start or position > len(data):
            raise overrun(f"segment 0x{marker:02x}", data.find(b"\xff\xd9", start) < 0)
        yield marker, start, position
    raise Fault("too_many_parts", f"more than {MAX_PARTS} segments")


def _sort_profile(icc: list[memoryview]) -> tuple[memoryview, ...]:
    """Return the pieces of a colour profile in their order, without the two bytes at their start.

    icc: the pieces in the order of the file. The two bytes at the start of a piece are the number
    of the piece, counted from 1, and the total number of pieces.

    Returns one empty piece if a piece is missing or repeated, or if there are more than 255 pieces.
    The empty piece means that the image has a profile, but the profile is broken.
    """
    numbered = {bytes(piece[:2]): piece[2:] for piece in icc}
    wanted = (
        [bytes((number, len(icc))) for number in range(1, 1 + len(icc))] if len(icc) < 256 else []
    )
    whole = sorted(numbered) == wanted
    return tuple(numbered[key] for key in wanted) if whole else (EMPTY,)
