"""Bytes of a GIF → the header of its first frame; no pixel is decoded.

A GIF is a list of blocks: extensions, such as comments, and frames. The content of a block is
stored in pieces of at most 255 bytes. The last block is the trailer.

This module guarantees for all input bytes:

- If the trailer is missing, or if a block goes beyond the end of the file, Fault is raised before a
  decoder starts.
- The decoder gets only the first frame, so comments and further frames never reach it.

Example: a GIF with 50 frames and a comment of 1 MB. `read_gif` returns a Header with 50 frames. The
field `picture` is a GIF with the palette, the first frame and nothing else.

The numbers are from the standard GIF89a (1990).
"""

import struct

from components.images.fault import Facts, Fault
from components.images.headers import MAX_PARTS, Header

EXTENSION, FRAME, TRAILER, CONTROL = 0x21, 0x2C, 0x3B, 0xF9
# An extension of the kind CONTROL: its flags say that the palette's colour with the number that
# follows is transparent.
TRANSPARENT = b"\x21\xf9\x04\x01\0\0%c\0"


def read_gif(data: bytes) -> Header:
    """Read the header of a GIF and count its frames.

    Raises Fault with the code `truncated`, `damaged` or `too_many_parts`.
    """
    try:
        return _read(data)
    except (IndexError, struct.error):
        raise Fault("truncated", "its end is missing (no trailer)") from None


def frame_box(picture: bytes) -> tuple[int, int, int, int]:
    """Return the place of the frame: left, top, right and bottom, in pixels.

    picture: the field `picture` of the Header that `read_gif` returned.
    """
    left, top, width, height = struct.unpack_from("<4H", picture, _frame_start(picture) + 1)
    return left, top, left + width, top + height


def with_transparent(picture: bytes, number: int) -> bytes:
    """Return a GIF with the same frame, whose transparent colour has this number in the palette.

    picture: the field `picture` of the Header that `read_gif` returned.
    """
    colours, frame = picture[: _start(picture)], picture[_frame_start(picture) :]
    return b"".join([colours, TRANSPARENT % number, frame])


def _read(data: bytes) -> Header:
    width, height = struct.unpack_from("<HH", data, 6)
    at = _start(data)
    colours, control, first, frames = data[:at], b"", b"", 0
    for _ in range(MAX_PARTS):
        begin, kind = at, data[at]
        if kind == TRAILER:
            break
        if kind == FRAME:
            left, top, across, down = struct.unpack_from("<4H", data, at + 1)
            at = _skip(data, at + 10 + _palette_bytes(data[at + 9]) + 1)
            if not frames:
                first = data[begin:at]
                width, height = max(width, left + across), max(height, top + down)
                if across * down == 0:
                    width = height = 0
            frames += 1
        elif kind == EXTENSION:
            at = _skip(data, at + 2)
            wanted = data[begin + 1] == CONTROL and at - begin == len(TRANSPARENT % 0)
            if wanted and not frames:
                control = data[begin:at]
        elif kind == 0:  # some programs write a zero byte too many
            at += 1
        else:
            raise Fault("damaged", f"no block of a GIF begins with the byte {kind}")
    else:
        raise Fault("too_many_parts", f"more than {MAX_PARTS} blocks")
    if not frames:
        raise Fault("damaged", "it has no frame")
    facts = Facts(
        format="gif", width=width, height=height, bit_depth=8, frames=frames, orientation=1
    )
    picture = b"".join([colours, control, first, b"\x3b"])
    return Header(facts=facts, picture=picture)


def _start(data: bytes) -> int:
    """Return the position of the first block, which follows the palette of the file."""
    return 13 + _palette_bytes(data[10])


def _frame_start(picture: bytes) -> int:
    start = _start(picture)
    return start if picture[start] == FRAME else start + len(TRANSPARENT % 0)


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip(data: bytes, at: int) -> int:
    """Return the position behind the pieces of a block. The last piece is empty."""
    while size := data[at]:
        at += 1 + size
    return at + 1
