"""Bytes of an image file → uint8 RGB pixels, or a Fault, which says why the image is refused.

There is no other decoder in the project. Training, evaluation and serving all decode images here,
so they see the same pixels. In the cases below, image libraries give different pixels, mostly
without a warning. This module has one rule for each case. The params `ingest.decode` in params.yaml
can change some of the rules, and can refuse the images of some cases. The cases and rules:

- The format is recognised from the first bytes of the file. The file extension is ignored.
- The EXIF orientation is applied.
- A 16-bit channel is reduced to 8 bits as `sixteen_bit` says; usually it keeps its high byte
  (value >> 8). Pillow always reduces 16-bit colour in this way, so 16-bit colour is decoded by
  OpenCV if `sixteen_bit` says otherwise. Pillow does not reduce 16-bit grey.
- Transparent pixels are blended with the colour `background`. The transparent colours of a palette
  are also blended. With `alpha: drop`, the transparency is ignored and the stored colours are kept.
- A grey value is copied to all three channels. A pixel of a palette image stores the number of a
  colour; the number is replaced by the colour. CMYK is converted by Pillow's formula.
- With `icc_profile: ignore`, the colour profile of a file is ignored. With `icc_profile: srgb`, the
  colours are converted from the profile to sRGB.
- If a JPEG contains several pictures, the first picture is decoded. (Phones store depth maps and
  gain maps as additional pictures of a JPEG. A JPEG with several pictures is called an MPO.)
- The first frame of a GIF and the first page of a TIFF are decoded.
- An animated PNG or WebP raises Fault, because no single frame represents the whole animation.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, TypeVar

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageCms,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL import Image as Pillow

from components.images.fault import Facts, Fault
from components.images.gif import frame_box, read_gif, with_transparent
from components.images.headers import (
    Header,
    colour_profile,
    lacks_rows,
    read_bmp,
    read_png,
    read_webp,
)
from components.images.jpeg import is_harmless, read_jpeg, without_metadata
from components.images.npy import read_npy
from components.images.refusals import GREY, check_kind, check_size, check_transparency
from components.images.signatures import describe, name_format, way_out
from components.images.sixteen_bit import eight_bit, read_colours
from components.images.tiff import read_tiff
from components.params.ingest import Decode, SixteenBit

__all__ = ["Facts", "Fault", "Image", "Pixels", "decode", "resize", "stored_values"]

Pixels = NDArray[np.uint8]
T = TypeVar("T")

HEADERS: dict[str, Callable[[bytes], Header]] = {
    "jpeg": read_jpeg,
    "png": read_png,
    "webp": read_webp,
    "bmp": read_bmp,
    "npy": read_npy,
    "gif": read_gif,
    "tiff": read_tiff,
}


class _Tiff(TiffImagePlugin.TiffImageFile):
    """Pillow's reader without its own limit of pixels, because `max_pixels` is checked before."""

    def load_prepare(self) -> None:
        if self._im is None:
            self.im = Pillow.new(self.mode, self._tile_size).im
        super().load_prepare()


# The classes of Pillow that read a format. This module calls the classes directly. `Pillow.open` is
# not used, for two reasons. First, the first call of `Pillow.open` loads these classes, and loading
# them is not safe in threads. Second, `Pillow.open` warns about images above 89 megapixels, but
# `ingest.decode.max_pixels` must be the only limit.
READERS: dict[str, Callable[[io.BytesIO], Pillow.Image]] = {
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "tiff": _Tiff,
}

# The rendering intent of all colour conversions. A rendering intent is a rule for colours that do
# not exist in sRGB. The relative colorimetric intent does not change colours that exist in sRGB.
# The perceptual intent is not used, because it may change every colour, in a way that the maker of
# the profile chose. For the profiles of cameras and screens, both intents give the same colours.
INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
# A profile counts as sRGB if the conversion to sRGB changes no channel by more than this number of
# levels (0 to 255). Two sRGB profiles may differ by 2 levels because of rounding.
SRGB_TOLERANCE = 2

# EXIF orientation → a function that rotates or mirrors the stored pixels for display (EXIF 2.32,
# tag 0x0112). Orientation 1 needs no function.
UPRIGHT: dict[int, Callable[[NDArray[np.void]], NDArray[np.void]]] = {
    2: np.fliplr,
    3: lambda grid: np.rot90(grid, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda grid: np.rot90(grid, -1),
    7: lambda grid: np.rot90(grid, 2).T,
    8: np.rot90,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Image(Facts):
    """A decoded image: its facts and its RGB pixels.

    pixels: the RGB pixels after the EXIF orientation was applied, uint8 [height, width, 3].
    """

    pixels: Pixels


def decode(data: bytes, params: Decode) -> Image:
    """Decode the bytes of one image file.

    data: the bytes of the whole file.
    params: the params `ingest.decode`.

    Raises Fault if the image is refused. The Fault has one of these codes:

    - empty_file, not_an_image, unsupported_format: the bytes are not in a format of HEADERS, or are
      in a rare variant of a format.
    - truncated, damaged: the format is supported, but bytes are missing or wrong.
    - too_many_pixels, too_many_parts, animated: the image is too large, or the file has too many
      parts or several frames. No pixel is decoded.
    - sixteen_bit, cmyk, grey, palette, icc_profile: the param with this name refuses the image.
    - transparent: the param `alpha` refuses the image.

    Raises MemoryError if the machine has too little memory. Bad bytes never cause exceptions of
    other types.
    """
    return _read(data, params, _decode)


def stored_values(data: bytes, params: Decode) -> NDArray[np.uint16] | None:
    """Return the 16-bit values of an image, before they are reduced to 8 bits.

    data, params: as for `decode`. Returns uint16 [H, W] (grey) or [H, W, 3] (RGB), as stored,
    without alpha. Returns None, and decodes nothing, if the image does not have 16 bits.

    Raises the Faults of `decode` that are about the bytes, and MemoryError.
    """
    return _read(data, params, _decode_values)


def _read(data: bytes, params: Decode, work: Callable[[bytes, Header, Decode], T]) -> T:
    """Check the header of an image, and return the result of `work`. Raises only Faults."""
    if not data:
        raise Fault("empty_file", "the file has no bytes")
    format_name = name_format(data)
    if format_name is None:
        raise Fault("not_an_image", describe(data))
    if format_name not in HEADERS:
        raise Fault("unsupported_format", way_out(format_name), Facts(format=format_name))
    facts, cut = Facts(format=format_name), False
    try:
        header = HEADERS[format_name](data)
        facts, cut = header.facts, header.cut
        check_size(facts, params)
        return work(data, header, params)
    except Fault as fault:
        raise Fault(fault.code, fault.text, fault.facts if fault.facts.format else facts) from None
    except MemoryError:  # the image is not the cause, because its size was checked
        raise
    except Pillow.DecompressionBombError as error:  # Pillow's WebP reader has its own limit
        raise Fault("too_many_pixels", str(error), facts) from None
    except Exception as error:  # Pillow raises many types of exceptions for bad bytes
        text = f"its bytes cannot be decoded ({str(error) or type(error).__name__})"
        raise Fault("truncated" if cut else "damaged", text, facts) from None


def resize(pixels: Pixels, size: int, how: Literal["squash", "crop", "pad"]) -> Pixels:
    """Resize a picture to a square. Returns uint8 [size, size, 3].

    pixels: the RGB pixels of the picture, uint8 [H, W, 3].
    size: the side of the square in pixels.
    how: the name of the method. `squash` stretches or compresses the whole picture to the square.
    `crop` uses only the central square of the picture. `pad` keeps the whole picture and its aspect
    ratio, and fills the rest of the square with black.

    The interpolation is bilinear with antialiasing. ImageNet networks are trained with the same
    interpolation. Bicubic interpolation would add bright or dark lines at edges if a small picture
    is enlarged.
    """
    image = Pillow.fromarray(pixels)
    box = _central_square(image.size) if how == "crop" else None
    target = _fitted_size(image.size, size) if how == "pad" else (size, size)
    image = image.resize(target, Pillow.Resampling.BILINEAR, box=box)
    if how == "pad":
        square = Pillow.new("RGB", (size, size))
        square.paste(image, ((size - target[0]) // 2, (size - target[1]) // 2))
        image = square
    return np.asarray(image, dtype=np.uint8)


def _decode(data: bytes, header: Header, params: Decode) -> Image:
    facts = header.facts
    check_kind(facts, params)
    colours = _colours(header, params)
    pixels = _decode_jpeg(data, header) if facts.format == "jpeg" else None
    if pixels is None or facts.mode == "CMYK" or colours is not None:
        image = _open(data, header, params) if pixels is None else _as_pillow(pixels, facts)
        facts = replace(facts, mode=facts.mode or image.mode)
        check_kind(facts, params)
        image.load()
        if facts.format == "png" and _ends_black(image) and lacks_rows(data, facts):
            raise Fault("damaged", "rows of its picture are missing")
        if facts.format == "gif" and _lacks_pixels(header.picture):
            raise Fault("damaged", "pixels of its first frame are missing")
        pixels = np.asarray(_rgb(image, header, colours, params), dtype=np.uint8)
    if facts.orientation in UPRIGHT:
        pixels = _turn_upright(pixels, facts.orientation)
    height, width = pixels.shape[:2]
    return Image(pixels=pixels, **vars(replace(facts, width=width, height=height)))


def _decode_values(data: bytes, header: Header, params: Decode) -> NDArray[np.uint16] | None:
    if header.facts.bit_depth != 16:
        return None
    image = _open(data, header, params)
    image.load()
    values = _stored_values(image, header)
    return values if values.ndim == 2 else values[..., :3]


def _turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    grid = pixels.view("V3")[..., 0]  # an element is a whole pixel; this doubles the speed
    return np.ascontiguousarray(UPRIGHT[orientation](grid))[..., None].view(np.uint8)


def _decode_jpeg(data: bytes, header: Header) -> Pixels | None:
    """Decode a JPEG to uint8 [H, W, 3], or [H, W, 4] for CMYK.

    Returns None if the JPEG must be decoded by Pillow. Pillow and simplejpeg both use the library
    libjpeg-turbo. libjpeg-turbo warns about damaged files, but some of its warnings are harmless.
    simplejpeg raises ValueError for every warning, and Pillow ignores all warnings. So Pillow must
    decode a file with a harmless warning.

    simplejpeg writes the pixels into an array that is allocated here. So the needed memory depends
    only on the size in the header, which `check_size` has compared with the maximum.

    Raises ValueError if the picture is damaged. Raises Fault with the code `damaged` if the size of
    the picture differs from the size in the header.
    """
    facts = header.facts
    space = "CMYK" if facts.mode == "CMYK" else "RGB"
    pixels = np.empty((facts.height or 0, facts.width or 0, len(space)), np.uint8)
    try:
        written = simplejpeg.decode_jpeg(data, space, buffer=pixels)
    except ValueError as error:
        if is_harmless(str(error), data, header.end):
            return None
        raise
    if written.shape != pixels.shape:
        raise Fault("damaged", "the size in its header differs from the size of its picture")
    return pixels


def _as_pillow(pixels: Pixels, facts: Facts) -> Pillow.Image:
    """Return a decoded JPEG as a Pillow image.

    CMYK values are inverted, because Adobe's programs store inverted values in a JPEG.
    """
    if facts.mode == "CMYK":
        size = (pixels.shape[1], pixels.shape[0])
        return Pillow.frombuffer("CMYK", size, pixels, "raw", "CMYK;I", 0, 1)
    return Pillow.fromarray(pixels[..., 0] if facts.mode == "L" else pixels)


def _open(data: bytes, header: Header, params: Decode) -> Pillow.Image:
    """Return the picture as a Pillow image. Pillow decodes the pixels later, in `load`.

    The pixels of a .npy file are already decoded. Raises Fault with the code `damaged` if the size
    that Pillow reads differs from the size in the header.
    """
    facts = header.facts
    if header.values is not None:
        return Pillow.fromarray(_reduce(header.values, params.sixteen_bit))
    if facts.format == "jpeg":
        image: Pillow.Image = JpegImagePlugin.JpegImageFile(io.BytesIO(without_metadata(data)))
    else:
        image = _open_by_pillow(facts.format or "", header.picture)
    if image.size != (facts.width, facts.height):
        raise Fault("damaged", "the size in its header differs from the size of its picture")
    key = image.info.get("transparency")
    if image.mode == "L" and facts.bit_depth in (2, 4) and isinstance(key, int):
        # Pillow scales grey pixels of 2 or 4 bits to 8 bits. But Pillow does not scale the grey
        # value that marks transparent pixels, so this grey value is scaled here.
        image.info["transparency"] = key * (255 // (2**facts.bit_depth - 1))
    return image


def _open_by_pillow(format_name: str, picture: bytes) -> Pillow.Image:
    try:
        return READERS[format_name](io.BytesIO(picture))
    except SyntaxError as error:
        if format_name != "tiff":
            raise
        # The structure of a TIFF is checked before. So Pillow does not know this kind of TIFF.
        text = f"this rare kind of TIFF is not supported ({error}); save it as PNG"
        raise Fault("unsupported_format", text) from None


def _ends_black(image: Pillow.Image) -> bool:
    """Return whether all values are 0 in one of the last two rows of the picture.

    If the result is True, rows may be missing, because Pillow leaves the values of missing rows at
    0. If the end of a file is missing, the rows that are stored last are missing. Usually the last
    row of the picture is stored last. In an interlaced picture, the second-last row may be stored
    last. So both rows are checked.
    """
    width, height = image.size
    rows = (image.crop((0, row, width, row + 1)) for row in range(max(0, height - 2), height))
    return any(row.getbbox(alpha_only=False) is None for row in rows)


def _lacks_pixels(gif: bytes) -> bool:
    """Return whether the pixel data of the only frame of a GIF ends before its last pixel.

    Pillow does not report this. Pillow fills the picture with the number of the transparent colour,
    and then writes the pixels of the frame. So the frame is decoded with two transparent colours.
    If the two results differ inside of the frame, pixels are missing.
    """
    box = frame_box(gif)
    zeroes, ones = (
        READERS["gif"](io.BytesIO(with_transparent(gif, number))).crop(box).tobytes()
        for number in (0, 1)
    )
    return zeroes != ones


def _rgb(
    image: Pillow.Image,
    header: Header,
    colours: ImageCms.ImageCmsTransform | None,
    params: Decode,
) -> Pillow.Image:
    if header.facts.bit_depth == 16:
        image = _eight_bit(image, header, params)
    if colours is not None:
        image = _convert_colours(image, colours)
    if params.alpha == "drop":
        image.info.pop("transparency", None)
        return image.convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    check_transparency(image.getchannel("A").getextrema() != (255, 255), params)
    canvas = Pillow.new("RGBA", image.size, (*params.background, 255))
    canvas.alpha_composite(image)
    return canvas.convert("RGB")


def _eight_bit(image: Pillow.Image, header: Header, params: Decode) -> Pillow.Image:
    """Reduce 16 bits to 8 bits, and convert a transparent grey value to an alpha channel.

    Pillow has already reduced a 16-bit colour picture to the high bytes. If a 16-bit colour picture
    has a transparent colour, it is no longer known which pixels had exactly this 16-bit colour. So
    all pixels become opaque. If the params refuse transparency, a 16-bit colour picture with a
    transparent colour raises Fault with the code `transparent`.
    """
    key = image.info.pop("transparency", None)
    if not image.mode.startswith("I"):
        check_transparency(key is not None, params)
        if params.sixteen_bit == "high_byte" or header.values is not None:
            return image
        values = _stored_values(image, header)
        return Pillow.fromarray(_reduce(values, params.sixteen_bit))
    grey = _stored_values(image, header)
    high = Pillow.fromarray(eight_bit(grey, params.sixteen_bit))
    if isinstance(key, int):
        high.putalpha(Pillow.fromarray(np.where(grey == key, 0, 255).astype(np.uint8)))
    return high


def _stored_values(image: Pillow.Image, header: Header) -> NDArray[np.uint16]:
    """Return the 16-bit values of a picture, uint16 [H, W], [H, W, 3] or [H, W, 4]."""
    if header.values is not None:
        return header.values.astype(np.uint16)
    if image.mode.startswith("I"):
        grey = np.asarray(image).clip(0, 65535)
        return np.asarray(65535 - grey if header.inverted else grey, np.uint16)
    values = read_colours(header.picture)
    if values.shape[:2] != image.size[::-1]:
        raise Fault("damaged", "the size in its header differs from the size of its picture")
    return values if image.mode.endswith("A") else values[..., :3]


def _reduce(values: NDArray[np.uint8] | NDArray[np.uint16], rule: SixteenBit) -> Pixels:
    """Reduce 16-bit values to 8 bits, and keep 8-bit values. An alpha channel keeps its high byte.

    values: uint8 or uint16, [H, W], [H, W, 3] or [H, W, 4]. Returns uint8 of the same shape.
    """
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    deep = values.astype(np.uint16, copy=False)
    if deep.shape[2:] != (4,):
        return eight_bit(deep, rule)
    alpha = eight_bit(deep[..., 3:], "high_byte")
    return np.concatenate([eight_bit(deep[..., :3], rule), alpha], axis=-1)


def _colours(header: Header, params: Decode) -> ImageCms.ImageCmsTransform | None:
    """Return the conversion from the embedded profile to sRGB. None if no conversion is needed.

    If `icc_profile` is `srgb`, a broken profile is ignored, because the picture can be decoded
    without the profile. Image viewers also ignore broken profiles. If `icc_profile` is `refuse`, a
    broken profile and a profile other than sRGB raise Fault with the code `icc_profile`.
    """
    if params.icc_profile == "ignore" or not header.icc:
        return None
    mode = header.facts.mode or "RGB"
    try:
        stored = "L" if mode in GREY else "CMYK" if mode == "CMYK" else "RGB"
        transform = _transform(colour_profile(header), stored)
        foreign = transform is not None
    except (ImageCms.PyCMSError, OSError):
        transform, foreign = None, True
    if foreign and params.icc_profile == "refuse":
        text = "its colour profile is not sRGB, and ingest.decode.icc_profile is `refuse`"
        raise Fault("icc_profile", text)
    return transform


@lru_cache(maxsize=8)  # many images have the same profile, and building a conversion is slow
def _transform(profile: bytes, stored: str) -> ImageCms.ImageCmsTransform | None:
    """Return the conversion from a profile to sRGB. None if the profile counts as sRGB.

    profile: the bytes of an ICC profile.
    stored: the mode of the image: L, RGB or CMYK.

    A profile for CMYK never counts as sRGB. Raises OSError or PyCMSError if the profile is broken,
    or if it was made for another mode.
    """
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        stored,
        "RGB",
        INTENT,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if stored == "CMYK":
        return transform
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    image = Pillow.fromarray(cube if stored == "RGB" else cube[..., 0])
    after = ImageCms.applyTransform(image, transform)
    change = np.abs(np.asarray(after, np.int16) - np.asarray(image.convert("RGB"), np.int16))
    return transform if change.max() > SRGB_TOLERANCE else None


def _convert_colours(image: Pillow.Image, colours: ImageCms.ImageCmsTransform) -> Pillow.Image:
    """Convert the colours, and keep the alpha channel, which a colour profile does not describe."""
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    image.info.pop("transparency", None)
    converted = image.convert(colours.input_mode)
    converted = ImageCms.applyTransform(converted, colours) or converted
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _central_square(size: tuple[int, int]) -> tuple[float, float, float, float]:
    width, height = size
    side = min(size)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _fitted_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return a width and a height with the aspect ratio of `size`, in pixels.

    The longer side is `side`. The shorter side is rounded, and is at least 1.
    """
    scale = side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
