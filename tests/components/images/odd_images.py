"""Nothing → many small images of all kinds that the decoder reads, no two of them alike.

The corpus beside this file has one image for each odd case, and many of them show the same. These
differ, so a data set can consist of them.
"""

from collections.abc import Callable, Iterator
from itertools import count, cycle

import numpy as np
from PIL import Image as Pillow

from tests.components.images.crafted import Pixels, exif, png, profile, saved

SMALL, LARGE = 24, 70  # the sides of the images, in pixels


def odd_images() -> Iterator[tuple[str, bytes]]:
    """Yield the name of a file and its bytes, again and again of each kind of KINDS.

    A name is `<kind>-<number>.<format>`, such as `jpeg_turned-17.jpeg`.
    """
    for number, (kind, encode) in zip(count(), cycle(KINDS.items())):
        yield f"{kind}-{number}.{kind.split('_')[0]}", encode(_scene(number), number)


def _scene(number: int) -> Pixels:
    """Return uint8 [H, W, 3]: soft spots of random colours, in a random size."""
    draw = np.random.default_rng(number)
    height, width = draw.integers(SMALL, LARGE, 2)
    spots = Pillow.fromarray(draw.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    return np.array(spots.resize((int(width), int(height)), Pillow.Resampling.BICUBIC))


def _alpha(pixels: Pixels) -> Pixels:
    """Return an alpha channel, uint8 [H, W], from transparent to opaque."""
    height, width, _ = pixels.shape
    return np.linspace(0, 255, height * width).reshape(height, width).astype(np.uint8)


def _grey(pixels: Pixels) -> Pixels:
    return pixels[..., 1].copy()


def _deep(pixels: Pixels) -> np.ndarray:
    """Return uint16 with the bytes of the pixels above, and others below them."""
    return pixels.astype(np.uint16) * 256 + 255 - pixels


def _deep_png(pixels: np.ndarray, colour: int) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png(rows, (pixels.shape[1], pixels.shape[0]), 16, colour)


def _cmyk(pixels: Pixels) -> Pillow.Image:
    return Pillow.fromarray(pixels).convert("CMYK")


def _palette(pixels: Pixels) -> Pillow.Image:
    return Pillow.fromarray(pixels).quantize(16)


def _turned(number: int) -> bytes:
    return exif(number % 8 + 1, "<>"[number // 8 % 2])


KINDS: dict[str, Callable[[Pixels, int], bytes]] = {
    "jpeg": lambda pixels, _: saved(pixels, "JPEG"),
    "jpeg_turned": lambda pixels, number: saved(pixels, "JPEG", exif=_turned(number)),
    "png_turned": lambda pixels, number: saved(pixels, "PNG", exif=_turned(number)),
    "webp_turned": lambda pixels, number: saved(pixels, "WEBP", exif=_turned(number)),
    "jpeg_progressive": lambda pixels, _: saved(pixels, "JPEG", progressive=True),
    "jpeg_profile": lambda pixels, _: saved(pixels, "JPEG", icc_profile=profile()),
    "png_grey": lambda pixels, _: saved(_grey(pixels), "PNG"),
    "jpeg_grey": lambda pixels, _: saved(_grey(pixels), "JPEG"),
    "png_bits": lambda pixels, _: saved(Pillow.fromarray(_grey(pixels)).convert("1"), "PNG"),
    "png_16_grey": lambda pixels, _: _deep_png(_deep(_grey(pixels)), 0),
    "png_16": lambda pixels, _: _deep_png(_deep(pixels), 2),
    "png_16_alpha": lambda pixels, _: _deep_png(_deep(np.dstack([pixels, _alpha(pixels)])), 6),
    "tiff_16": lambda pixels, _: saved(Pillow.fromarray(_deep(_grey(pixels))), "TIFF"),
    "jpeg_cmyk": lambda pixels, _: saved(_cmyk(pixels), "JPEG"),
    "tiff_cmyk": lambda pixels, _: saved(_cmyk(pixels), "TIFF"),
    "png_palette": lambda pixels, _: saved(_palette(pixels), "PNG"),
    "png_palette_clear": lambda pixels, _: saved(_palette(pixels), "PNG", transparency=3),
    "gif": lambda pixels, _: saved(_palette(pixels), "GIF"),
    "png_grey_alpha": lambda pixels, _: saved(
        Pillow.fromarray(np.dstack([_grey(pixels), _alpha(pixels)])), "PNG"
    ),
    "png_alpha": lambda pixels, _: saved(np.dstack([pixels, _alpha(pixels)]), "PNG"),
    "webp_alpha": lambda pixels, _: saved(np.dstack([pixels, _alpha(pixels)]), "WEBP"),
    "bmp": lambda pixels, _: saved(pixels, "BMP"),
    "webp": lambda pixels, _: saved(pixels, "WEBP", lossless=True),
    "tiff": lambda pixels, _: saved(pixels, "TIFF", compression="tiff_lzw"),
}
