"""Bytes of an image file → uint8 RGB pixels, or a named fault: the one decoder.

Training, evaluation and serving all read images here, so none of them can see other pixels than
the rest. Every rule that a decoder may settle silently is settled here in the open:

- The format is what the bytes say; the extension is not looked at.
- The EXIF orientation is applied.
- 16-bit channels keep their high byte (value >> 8). Pillow does so to colour and cannot be asked
  for more, so grey, which Pillow keeps at 16 bits, gets the same rule.
- Transparency is laid over `ingest.decode.background`.
- CMYK and grey become RGB by Pillow's formulas; colour profiles are not applied.
- A JPEG with further pictures behind the first (MPO: depth and gain maps of phones) is its first
  picture. An animated PNG or WebP has no picture that stands for it and is a fault.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL import Image as Pillow

from components.params import Decode

Pixels = NDArray[np.uint8]

# Called directly: `Pillow.open` registers them lazily, which is not made for threads, and warns of
# every image above its own 89 megapixels, where only `ingest.decode.max_pixels` is to decide.
READERS: dict[str, Callable[[io.BytesIO], Pillow.Image]] = {
    "jpeg": JpegImagePlugin.jpeg_factory,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
}

# First bytes → format. What is not among READERS is only named.
SIGNATURES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"BM", "bmp"),
    (b"GIF8", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"8BPS", "psd"),
    (b"\0\0\1\0", "ico"),
    (b"\0\0\0\x0cjP  ", "jpeg2000"),
    (b"\xff\x0a", "jpeg_xl"),
    (b"\0\0\0\x0cJXL ", "jpeg_xl"),
    (b"%PDF", "pdf"),
)
BRANDS = {b"avif": "avif", b"avis": "avif", b"heic": "heic", b"heix": "heic", b"mif1": "heic"}

# EXIF 2.32, tag 0x0112: how the stored picture must be turned to stand upright.
ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of an image; None where its bytes were too bad to tell.

    width and height are in pixels, upright for a decoded image, as stored for a faulty one; mode
    is Pillow's; bit_depth counts one channel; orientation is the EXIF value, 1 where there is none.
    """

    format: str | None = None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    bit_depth: int | None = None
    frames: int | None = None
    orientation: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Image(Facts):
    """A decoded image: its facts and upright RGB pixels, uint8 [height, width, 3]."""

    pixels: Pixels


class Fault(Exception):  # noqa: N818 (a finding about data, not an error of ours)
    """Why bytes are not an image we take: a code for tables, a text for people, and the facts."""

    def __init__(self, code: str, text: str, facts: Facts | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.facts = facts or Facts()


def decode(data: bytes, params: Decode) -> Image:
    """Decode the bytes of one image file.

    Raises Fault with one of the codes empty_file, not_an_image, unsupported_format,
    too_many_pixels, animated, truncated or damaged, and no other exception on whatever bytes.
    """
    if not data:
        raise Fault("empty_file", "the file has no bytes")
    named = _format(data)
    if named is None:
        raise Fault("not_an_image", f"no image format starts with {data[:16]!r}")
    if named not in READERS:
        text = f"{named} is not among {', '.join(READERS)}"
        raise Fault("unsupported_format", text, Facts(format=named))
    try:
        return _decode(data, named, params)
    except Fault:
        raise
    except Pillow.DecompressionBombError as error:  # a WebP's reader has a cap of its own
        raise Fault("too_many_pixels", str(error), Facts(format=named)) from None
    except Exception as error:  # bad bytes make Pillow raise a dozen unrelated types
        code = "truncated" if _is_cut(data, named) else "damaged"
        text = f"{type(error).__name__}: {error}"
        raise Fault(code, text, Facts(format=named)) from None


def resize(pixels: Pixels, size: int, how: Literal["squash", "crop", "pad"]) -> Pixels:
    """Return uint8 [size, size, 3] of uint8 [H, W, 3], antialiased.

    squash ignores the aspect, crop takes the central square, pad adds black at the shorter sides.
    Bilinear over the whole footprint of a target pixel, as networks on ImageNet are trained; it
    cannot ring, unlike bicubic, where a small image is enlarged.
    """
    image = Pillow.fromarray(pixels)
    box = _central_square(image.size) if how == "crop" else None
    target = _fitted(image.size, size) if how == "pad" else (size, size)
    image = image.resize(target, Pillow.Resampling.BILINEAR, box=box)
    if how == "pad":
        square = Pillow.new("RGB", (size, size))
        square.paste(image, ((size - target[0]) // 2, (size - target[1]) // 2))
        image = square
    return np.asarray(image, dtype=np.uint8)


def encode_png(pixels: Pixels) -> bytes:
    """Return the bytes of a PNG file of uint8 [H, W, 3] (colour) or [H, W] (grey)."""
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def _decode(data: bytes, named: str, params: Decode) -> Image:
    image = READERS[named](io.BytesIO(data))
    width, height = image.size
    frames = getattr(image, "n_frames", 1)
    depth = _bit_depth(data, named)
    facts = Facts(
        format=named, width=width, height=height, mode=image.mode, bit_depth=depth, frames=frames
    )
    if width * height > params.max_pixels:
        text = f"{width} × {height} pixels, above ingest.decode.max_pixels = {params.max_pixels}"
        raise Fault("too_many_pixels", text, facts)
    if frames > 1 and named != "jpeg":
        raise Fault("animated", f"{frames} frames", facts)
    image.load()
    if named == "png":
        _check_sums(data)
    orientation = _orientation(image)
    image = _rgb(image, depth, params.background)
    if orientation in UPRIGHT:
        image = image.transpose(UPRIGHT[orientation])
    return Image(
        pixels=np.asarray(image, dtype=np.uint8),
        format=named,
        width=image.width,
        height=image.height,
        mode=facts.mode,
        bit_depth=depth,
        frames=frames,
        orientation=orientation,
    )


def _format(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        return BRANDS.get(data[8:12])
    return next((name for start, name in SIGNATURES if data.startswith(start)), None)


def _bit_depth(data: bytes, named: str) -> int:
    """Bits a channel; the other formats that we take have no more than 8."""
    return data[24] if named == "png" and data[12:16] == b"IHDR" else 8


def _check_sums(data: bytes) -> None:
    """Raise where a checksum of a PNG is wrong, which Pillow does not notice when it decodes."""
    with READERS["png"](io.BytesIO(data)) as image:
        image.verify()


def _orientation(image: Pillow.Image) -> int:
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # a broken EXIF block is no reason to lose a sound picture
        return 1
    return value if isinstance(value, int) and value in range(1, 9) else 1


def _rgb(image: Pillow.Image, depth: int, background: tuple[int, int, int]) -> Pillow.Image:
    if depth == 16:
        image = _eight_bit(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    canvas = Pillow.new("RGBA", image.size, (*background, 255))
    canvas.alpha_composite(image.convert("RGBA"))
    return canvas.convert("RGB")


def _eight_bit(image: Pillow.Image) -> Pillow.Image:
    """Bring grey to 8 bits as Pillow has brought colour, and a transparent grey value to alpha.

    A transparent 16-bit colour can no longer be told from its neighbours and counts as opaque.
    """
    key = image.info.pop("transparency", None)
    if not image.mode.startswith("I"):
        return image
    grey = np.asarray(image).astype(np.int64)
    high = Pillow.fromarray((grey >> 8).clip(0, 255).astype(np.uint8))
    if isinstance(key, int):
        high.putalpha(Pillow.fromarray(np.where(grey == key, 0, 255).astype(np.uint8)))
    return high


def _is_cut(data: bytes, named: str) -> bool:
    """Tell whether the end is missing, by each format's own end mark or length."""
    if named == "jpeg":
        return b"\xff\xd9" not in data[-64:]
    if named == "png":
        return b"IEND" not in data[-64:]
    start, before = (4, 8) if named == "webp" else (2, 0)
    return len(data) < int.from_bytes(data[start : start + 4], "little") + before


def _central_square(size: tuple[int, int]) -> tuple[float, float, float, float]:
    width, height = size
    side = min(size)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Scale a size so that its longer side is `side`, the other at least one pixel."""
    scale = side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
