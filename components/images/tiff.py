"""Bytes of a TIFF → the header of its first page; no pixel is decoded.

A TIFF is a list of pages. A page has a directory, which is a list of numbered tags with values, and
strips or tiles with pixels. The directories and the pixels can be anywhere in the file.

This module guarantees for all input bytes:

- Only the first page is decoded. The other pages are counted.
- Every strip and tile that the directory names is in the file. If not, Fault is raised before a
  decoder starts, because some decoders leave missing strips black and report no error.
- Memory is bounded: the number of strips, the size of a tile and the number of channels are limited
  before a decoder allocates memory for them.
- The decoder gets a new directory, which has only the tags that describe the pixels. So metadata
  and further pages never reach the decoder, and it does not apply the orientation.

Three examples of a bad TIFF:

- The directory is usually stored after the pixels. If the end of the file is missing, the position
  of the directory is behind the last byte. This raises Fault with the code `truncated`.
- The picture has 10 × 10 pixels, but its tile has 60,000 × 60,000. The decoder would allocate the
  memory of the whole tile. This raises Fault with the code `damaged`.
- The first page of a camera's raw file is a small preview. This raises Fault with the code
  `unsupported_format`, because a preview must not be mistaken for the picture.

The numbers of the tags are from the standard TIFF 6.0 (1992). BigTIFF is the same with 64-bit
numbers.
"""

import struct
from dataclasses import dataclass

from components.images.fault import Facts, Fault
from components.images.headers import MAX_PARTS, Header

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
ORIENTATION, CHANNELS, PLANES, EXTRA, SAMPLE_FORMAT = 274, 277, 284, 338, 339
STRIPS, ROWS_PER_STRIP, STRIP_BYTES = 273, 278, 279
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 322, 323, 324, 325
SUBFILE, SUBSAMPLING, DNG_VERSION, PROFILE, JPEG_TABLES = 254, 530, 50706, 34675, 347
# The tags that describe the pixels: those above that the decoder needs, and FillOrder, T4Options,
# T6Options, Predictor, ColorMap, InkSet, YCbCrCoefficients and ReferenceBlackWhite.
PICTURE = frozenset(
    {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, CHANNELS, PLANES, EXTRA, SAMPLE_FORMAT}
    | {STRIPS, ROWS_PER_STRIP, STRIP_BYTES, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES}
    | {SUBSAMPLING, JPEG_TABLES, 266, 292, 293, 317, 320, 332, 529, 532}
)
NONE, JPEG = 1, 7
# Not read: the old form of JPEG (6) has no clear definition, the memory for LZMA (34925) has no
# limit, and Pillow's wheels do not contain WebP (50001).
COMPRESSIONS = {
    NONE: "none",
    2: "CCITT",
    3: "CCITT group 3",
    4: "CCITT group 4",
    5: "LZW",
    JPEG: "JPEG",
    8: "deflate",
    32946: "deflate",
    32773: "PackBits",
    50000: "Zstandard",
}
WHITE_IS_ZERO, YCBCR = 0, 6
# Photometric interpretation → Pillow's mode, number of colour channels, allowed bits per channel.
KINDS = {
    WHITE_IS_ZERO: ("L", 1, (1, 2, 4, 8, 16)),
    1: ("L", 1, (1, 2, 4, 8, 16)),
    2: ("RGB", 3, (8, 16)),
    3: ("P", 1, (1, 2, 4, 8)),
    5: ("CMYK", 4, (8,)),
    YCBCR: ("RGB", 3, (8,)),
}
INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}  # type of a value → its code in `struct`
# Other types of a value → the size of a value in bytes.
SIZES = {2: 1, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 17: 8, 18: 8}
MAX_EXTRA = 2  # the maximum number of channels in addition to the colours
MAX_TILE_PX = 2**24  # a tile usually has 256 × 256 pixels
WAY_OUT = "save it as a TIFF of unsigned 8 or 16 bits, or as PNG"


@dataclass(frozen=True)
class _Form:
    """How the numbers of a file are stored. `order` is the byte order, as in `struct`."""

    order: str
    big: bool

    @property
    def offset(self) -> str:
        """The code in `struct` of a position in the file."""
        return self.order + ("Q" if self.big else "I")

    @property
    def count(self) -> str:
        """The code in `struct` of the number of entries of a directory."""
        return self.order + ("Q" if self.big else "H")


@dataclass(frozen=True)
class _Page:
    """The directory of a page: tag → the bytes of its entry, and the position of the next page."""

    data: bytes
    form: _Form
    entries: dict[int, bytes]
    following: int

    def span(self, tag: int) -> tuple[int, int, int]:
        """Return the type of a tag's values, their number, and the position of the first.

        The position is counted from the start of the file, or is -1 if the values are in the entry.
        Raises Fault if the values are not in the file.
        """
        form = self.form
        kind, count = struct.unpack_from(f"{form.order}H{form.offset[1]}", self.entries[tag], 2)
        room = struct.calcsize(form.offset)
        size = count * (struct.calcsize(INTEGERS[kind]) if kind in INTEGERS else SIZES[kind])
        if size <= room:
            return kind, count, -1
        (start,) = struct.unpack_from(form.offset, self.entries[tag], 4 + room)
        if start + size > len(self.data):
            raise Fault("truncated", f"the values of its tag {tag} are missing")
        return kind, count, start

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return the whole numbers of a tag; `default` if the tag is missing."""
        if tag not in self.entries:
            return default
        kind, count, start = self.span(tag)
        if count > MAX_PARTS:
            raise Fault("too_many_parts", f"its tag {tag} has more than {MAX_PARTS} values")
        form = f"{self.form.order}{count}{INTEGERS[kind]}"
        inside = 4 + struct.calcsize(self.form.offset)
        place = (self.entries[tag], inside) if start < 0 else (self.data, start)
        return struct.unpack_from(form, *place)

    def number(self, tag: int, default: int = 0) -> int:
        """Return the first whole number of a tag; `default` if the tag is missing."""
        return next(iter(self.numbers(tag)), default)


def read_tiff(data: bytes) -> Header:
    """Read the header of a TIFF or BigTIFF.

    Raises Fault with the code `truncated`, `damaged`, `too_many_parts` or `unsupported_format`. Bad
    bytes may also cause exceptions of other types. The function `decode` converts these exceptions
    to a Fault.
    """
    order, version = {b"II": "<", b"MM": ">"}[data[:2]], data[2:4].strip(b"\0")
    form = _Form(order, big=version == b"+")
    if len(data) < (16 if form.big else 8):
        raise Fault("truncated", "the end of its header is missing")
    (start,) = struct.unpack_from(form.offset, data, 8 if form.big else 4)
    page = _read_page(data, form, start)
    photometric = page.number(PHOTOMETRIC)
    mode, colours, _ = KINDS.get(photometric, ("", 0, ()))
    bits, channels = page.numbers(BITS, (1,)), page.number(CHANNELS, 1)
    # Without the tag EXTRA, a fourth channel of RGB is alpha.
    extra = page.number(EXTRA, 2 if mode == "RGB" else 0)
    alpha = channels == colours + 1 and extra in (1, 2)
    facts = Facts(
        format="tiff",
        width=page.number(WIDTH),
        height=page.number(HEIGHT),
        mode={("L", 1): "1", ("L", 16): "I;16"}.get((mode, bits[0]), mode) + "A" * alpha or None,
        bit_depth=bits[0],
        frames=_count_pages(page),
        orientation=_orientation(page),
    )
    try:
        _check_tags(page)
        _check_kind(page, photometric, bits, channels)
        inverted = photometric == WHITE_IS_ZERO and bits[0] == 16
        changes = {PHOTOMETRIC: 1} if inverted else {EXTRA: extra} if alpha else {}
        if facts.width and facts.height:
            _check_pixels(page, facts.width, facts.height, bits[0], channels)
    except Fault as fault:
        raise Fault(fault.code, fault.text, facts) from None
    return Header(facts=facts, picture=_picture(page, changes), icc=_icc(page), inverted=inverted)


def _read_page(data: bytes, form: _Form, start: int) -> _Page:
    """Read the directory at the position `start`. Raises Fault if it is not in the file."""
    try:
        (count,) = struct.unpack_from(form.count, data, start)
        size = 20 if form.big else 12
        first = start + struct.calcsize(form.count)
        (following,) = struct.unpack_from(form.offset, data, first + count * size)
    except struct.error:
        raise Fault("truncated", "the directory of a page is missing") from None
    if start < 8 or count > MAX_PARTS:
        raise Fault("damaged", "the directory of a page is wrong")
    places = range(first, first + count * size, size)
    entries = {
        struct.unpack_from(f"{form.order}H", data, at)[0]: data[at : at + size] for at in places
    }
    return _Page(data, form, entries, following)


def _count_pages(page: _Page) -> int:
    """Return the number of pages. A page that was counted before ends the list."""
    seen = set[int]()
    while page.following and page.following not in seen and len(seen) < MAX_PARTS:
        seen.add(page.following)
        page = _read_page(page.data, page.form, page.following)
    return 1 + len(seen)


def _check_tags(page: _Page) -> None:
    """Raise Fault if the values of a tag of PICTURE are missing, or if it has too many values."""
    for tag in PICTURE & page.entries.keys():
        _, count, _ = page.span(tag)
        if count > MAX_PARTS and tag != JPEG_TABLES:
            raise Fault("too_many_parts", f"its tag {tag} has more than {MAX_PARTS} values")


def _check_kind(page: _Page, photometric: int, bits: tuple[int, ...], channels: int) -> None:
    """Raise Fault if the pixels are stored in a way that is not supported."""
    if page.number(SUBFILE) & 1 or DNG_VERSION in page.entries or page.data[8:10] == b"CR":
        text = "it is the raw file of a camera, or begins with a preview; export it as JPEG or PNG"
        raise Fault("unsupported_format", text)
    compression = page.number(COMPRESSION, NONE)
    if compression not in COMPRESSIONS:
        kinds = ", ".join(dict.fromkeys(COMPRESSIONS.values()))
        text = f"compression {compression} of TIFF is not supported, only {kinds}"
        raise Fault("unsupported_format", text)
    _, colours, depths = KINDS.get(photometric, ("", 0, ()))
    signs = set(page.numbers(SAMPLE_FORMAT, (1,)))
    right = (
        len({*bits}) == 1
        and bits[0] in depths
        and signs == {1}
        and colours <= channels <= colours + MAX_EXTRA
        and not (photometric == YCBCR and compression == NONE)
        and not (bits[0] == 16 and page.number(EXTRA) == 1)  # colours are multiplied by alpha
    )
    if not right:
        values = "signed or floating-point" if signs != {1} else "unsigned"
        what = f"channels: {channels}, bits: {bits[0]}, {values}, colour space: {photometric}"
        raise Fault("unsupported_format", f"this kind of TIFF is not supported ({what}); {WAY_OUT}")
    if page.number(PLANES, 1) == 2 and channels > 1:
        _check_planes(page, photometric, bits[0], channels)


def _check_planes(page: _Page, photometric: int, bits: int, channels: int) -> None:
    """Raise Fault if the channels are stored one after the other and the decoders cannot join them.

    With 16 bits, OpenCV and Pillow return noise without an error. With 8 bits, Pillow joins only
    the channels of RGB, RGBA and CMYK.
    """
    mode, colours, _ = KINDS[photometric]
    alpha = mode == "RGB" and channels == 4 and page.number(EXTRA, 2) in (1, 2)
    if bits != 8 or colours < 3 or (channels != colours and not alpha):
        text = (
            f"its {channels} channels of {bits} bits are stored one after the other; save it with "
            "the channels of a pixel side by side, or as PNG"
        )
        raise Fault("unsupported_format", text)


def _check_pixels(page: _Page, width: int, height: int, bits: int, channels: int) -> None:
    """Raise Fault if a strip or tile is missing, or if it is too large."""
    planes = channels if page.number(PLANES, 1) == 2 else 1
    tiled = TILES in page.entries
    across, down = width, min(page.number(ROWS_PER_STRIP, height), height)
    if tiled:
        across, down = page.number(TILE_WIDTH), page.number(TILE_HEIGHT)
    if min(across, down) < 1 or (tiled and across * down > MAX_TILE_PX):
        raise Fault("damaged", f"its strips or tiles have {across} × {down} pixels")
    starts = page.numbers(TILES if tiled else STRIPS)
    if len(starts) != -(-width // across) * -(-height // down) * planes:
        raise Fault("damaged", f"{len(starts)} strips or tiles do not fit the size of its picture")
    if page.number(COMPRESSION, NONE) == NONE:
        row = -(-across * bits * channels // planes // 8)
        last = height - (height - 1) // down * down  # the number of rows in the last strip
        sizes = [row * down] * len(starts)
        if not tiled:
            per_plane = len(starts) // planes
            sizes[per_plane - 1 :: per_plane] = [row * last] * planes
    else:
        sizes = list(page.numbers(TILE_BYTES if tiled else STRIP_BYTES))
    if len(sizes) != len(starts) or min(sizes) < 1:
        raise Fault("damaged", "the sizes of its strips or tiles are missing")
    if max(start + size for start, size in zip(starts, sizes, strict=True)) > len(page.data):
        raise Fault("truncated", "strips or tiles with its pixels are missing")
    if page.number(COMPRESSION) == JPEG:
        for start, size in zip(starts, sizes, strict=True):
            if page.data.rfind(b"\xff\xd9", start, start + size) < 0:
                raise Fault("damaged", "the end of a strip or tile is missing (no EOI marker)")


def _picture(page: _Page, changes: dict[int, int]) -> bytes:
    """Return the file with a new directory at its end, which has only the tags PICTURE.

    changes: tag → a new value. Pillow does not invert pictures of 16 bits in which 0 is white, so
    the directory says that 0 is black. OpenCV warns if the tag EXTRA is missing.
    """
    form, data = page.form, page.data
    entries = {tag: page.entries[tag] for tag in PICTURE & page.entries.keys()}
    for tag, value in changes.items():
        entry = struct.pack(f"{form.order}HH{form.offset[1]}H", tag, 3, 1, value)
        entries[tag] = entry.ljust(4 + 2 * struct.calcsize(form.offset), b"\0")
    pad = bytes(len(data) % 2)
    at = 8 if form.big else 4
    head = data[:at] + struct.pack(form.offset, len(data) + len(pad))
    directory = [struct.pack(form.count, len(entries)), *(entries[tag] for tag in sorted(entries))]
    return b"".join([head, data[len(head) :], pad, *directory, struct.pack(form.offset, 0)])


def _orientation(page: _Page) -> int:
    """Return the orientation, 1 to 8, which has the same meaning as in EXIF."""
    value = page.number(ORIENTATION, 1)
    return value if 1 <= value <= 8 else 1


def _icc(page: _Page) -> tuple[memoryview, ...]:
    if PROFILE not in page.entries:
        return ()
    _, count, start = page.span(PROFILE)
    return (memoryview(page.data)[max(start, 0) : max(start, 0) + count * (start >= 0)],)
