"""Nothing → PNGs of every kind: each depth and colour, odd, transparent, damaged."""

import struct
from collections.abc import Iterator

import numpy as np

from tests.components.images.crafted import (
    SIGNATURE,
    Case,
    chunk,
    exif,
    interlaced,
    noise,
    noise_image,
    png,
    profile,
    saved,
    upright,
    zeroed,
)


def pngs() -> Iterator[Case]:
    """Yield PNGs of every depth and colour, odd ones that are sound, and damaged ones."""
    pixels = noise()
    plain = saved(pixels, "PNG")
    grey = pixels[..., :1].repeat(3, 2)
    yield Case(name="png", data=plain, pixels=pixels)
    yield Case(name="png_grey", data=saved(pixels[..., 0], "PNG"), pixels=grey)
    yield Case(name="png_interlaced", data=interlaced(pixels), pixels=pixels)
    yield Case(name="png_interlaced_1x1", data=interlaced(noise(1, 1)), pixels=noise(1, 1))
    yield Case(name="png_1x1", data=saved(noise(1, 1), "PNG"), pixels=noise(1, 1))
    yield Case(name="png_strip", data=saved(noise(1, 5000), "PNG"), pixels=noise(1, 5000))
    wide = np.zeros((1, 1_000_000, 3), np.uint8)
    yield Case(name="png_million_wide", data=saved(wide, "PNG"), pixels=wide)
    yield from deep_pngs()
    yield from transparent_pngs()
    text = chunk(b"tEXt", b"Comment\0" + bytes(1000)) + chunk(b"zTXt", b"k\0\0nonsense")
    behind = plain[:33] + text + plain[33:]
    yield Case(name="png_odd_text", data=behind, pixels=pixels)
    yield Case(name="png_zip_behind", data=plain + b"PK\x03\x04" + bytes(500), pixels=pixels)
    for name, icc in {"profile": profile(), "broken_profile": b"nonsense"}.items():
        yield Case(name=f"png_{name}", data=saved(pixels, "PNG", icc_profile=icc), pixels=pixels)
    turned = saved(pixels, "PNG", exif=exif(6))
    yield Case(name="png_turned", data=turned, pixels=upright(pixels, 6))
    frames = {"save_all": True, "append_images": [noise_image(60)]}
    yield Case(name="png_animated", data=saved(pixels, "PNG", **frames), code="animated")
    apart = saved(pixels, "PNG", default_image=True, **frames)
    yield Case(name="png_animated_apart", data=apart, code="animated")
    still = plain[:33] + chunk(b"acTL", struct.pack(">II", 1, 0)) + plain[33:]
    control = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 60, 40, 0, 0, 1, 1, 0, 0))
    yield Case(name="png_one_frame", data=still[:53] + control + still[53:], pixels=pixels)
    yield from damaged_pngs(plain)


def deep_pngs() -> Iterator[Case]:
    """Yield PNGs of 16, 4, 2 and 1 bits a channel; 16 keep their high byte."""
    values = np.array([[0, 255, 256, 32767, 65280, 65535]], np.uint16)
    high = np.array([0, 0, 1, 127, 255, 255], np.uint8)
    grey = high.reshape(1, 6, 1).repeat(3, 2)
    row = b"\0" + values.astype(">u2").tobytes()
    yield Case(name="png_16_grey", data=png(row, (6, 1), 16, 0), pixels=grey)
    yield Case(name="png_16_colour", data=png(row, (2, 1), 16, 2), pixels=high.reshape(1, 2, 3))
    opaque = np.stack([values[0], np.full(6, 65535)], -1).astype(">u2").tobytes()
    yield Case(name="png_16_grey_alpha", data=png(b"\0" + opaque, (6, 1), 16, 4), pixels=grey)
    for depth in (1, 2, 4):
        count = 8 // depth
        steps = np.arange(count) % 2**depth * (255 // (2**depth - 1))
        packed = bytes((sum((n % 2**depth) << (8 - depth * (n + 1)) for n in range(count)),))
        shown = steps.astype(np.uint8).reshape(1, count, 1).repeat(3, 2)
        data = png(b"\0" + packed, (count, 1), depth, 0)
        yield Case(name=f"png_{depth}_bit", data=data, pixels=shown)
        clear = chunk(b"tRNS", struct.pack(">H", 1))
        shown = np.where(shown == 255 // (2**depth - 1), np.uint8(255), shown)
        data = png(b"\0" + packed, (count, 1), depth, 0, clear)
        yield Case(name=f"png_{depth}_bit_clear", data=data, pixels=shown)


def transparent_pngs() -> Iterator[Case]:
    """Yield PNGs that are transparent in every way, laid over white, and a plain palette."""
    red, white = np.array([[[255, 0, 0]]], np.uint8), np.array([[[255, 255, 255]]], np.uint8)
    both = np.concatenate([red, white], axis=1)
    palette = chunk(b"PLTE", bytes((255, 0, 0, 0, 0, 255)))
    two = b"\0\0\1"  # a row of two pixels: colour 0, colour 1
    blue = np.array([[[0, 0, 255]]], np.uint8)
    yield Case(
        name="png_palette",
        data=png(two, (2, 1), 8, 3, palette),
        pixels=np.concatenate([red, blue], axis=1),
    )
    clear = chunk(b"tRNS", b"\xff\0")
    yield Case(name="png_palette_clear", data=png(two, (2, 1), 8, 3, palette, clear), pixels=both)
    half = chunk(b"tRNS", b"\xff\x80")
    mixed = np.concatenate([red, np.array([[[127, 127, 255]]], np.uint8)], axis=1)
    yield Case(name="png_palette_half", data=png(two, (2, 1), 8, 3, palette, half), pixels=mixed)
    rows = b"\0\xff\0\0\0\0\xff"
    key = chunk(b"tRNS", struct.pack(">HHH", 0, 0, 255))
    yield Case(name="png_rgb_clear", data=png(rows, (2, 1), 8, 2, key), pixels=both)
    rows = b"\0\xff\0\0\xff\0\0\xff\0"
    yield Case(name="png_rgba", data=png(rows, (2, 1), 8, 6), pixels=both)
    rows = b"\0\xff\xff\x07\0"
    yield Case(name="png_grey_alpha", data=png(rows, (2, 1), 8, 4), pixels=white.repeat(2, 1))
    rows, key = b"\0" + struct.pack(">HH", 65535, 300), chunk(b"tRNS", struct.pack(">H", 300))
    data = png(rows, (2, 1), 16, 0, key)
    yield Case(name="png_16_grey_clear", data=data, pixels=white.repeat(2, 1))


def damaged_pngs(plain: bytes) -> Iterator[Case]:
    """Yield PNGs with wrong checksums, lengths and pictures."""
    place = plain.index(b"IDAT")
    flipped = bytearray(plain)
    flipped[place + 50] ^= 1
    sums = bytearray(saved(noise(), "PNG", pnginfo=None, exif=exif(1)))
    sums[sums.index(b"eXIf") + 6] ^= 1
    row = b"\0" + bytes(8)
    damaged = {
        "flipped_bit": bytes(flipped),
        "flipped_checksum": plain[:-3] + bytes((plain[-3] ^ 1,)) + plain[-2:],
        "flipped_in_metadata": bytes(sums),
        "zeroed": zeroed(plain, 0.5, 64),
        "long_chunk": plain[: place - 4] + struct.pack(">I", 10**6) + plain[place:],
        "short_chunk": plain[: place - 4] + struct.pack(">I", 10) + plain[place:],
        "huge_chunk": plain[: place - 4] + b"\xff" * 4 + plain[place:],
        "too_few_rows": png(row * 7, (8, 8)),
        "no_picture": plain[: place - 4] + chunk(b"IEND", b""),
        "no_palette": png(row * 8, (8, 8), 8, 3),
        "no_header": SIGNATURE + plain[33:],
        "unknown_colour": png(row * 8, (8, 8), 8, 5),
        "unknown_depth": png(row * 8, (8, 8), 3, 0),
        "two_headers": plain[:33] + png(row, (8, 1))[8:33] + plain[33:],
        "no_width": png(row, (0, 1)),
        "packed_nonsense": SIGNATURE + plain[8:33] + chunk(b"IDAT", b"nonsense") + plain[-12:],
    }
    for name, data in damaged.items():
        yield Case(name=f"png_{name}", data=data, code="damaged")
