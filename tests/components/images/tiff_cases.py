"""Nothing → TIFFs as microscopes, scanners and programs write them, and TIFFs with faults."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from tests.components.images.crafted import (
    Case,
    exif,
    noise,
    noise_image,
    profile,
    reference,
    saved,
    scene,
    upright,
)

PACKINGS = ("tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "zstd")


def tiff(
    values: NDArray[Any], order: str = "<", strips: int = 1, tags: dict[int, Any] | None = None
) -> bytes:
    """Return a TIFF of uint8 or uint16, [H, W] or [H, W, C], whose pixels are not packed.

    order: byte order. strips: number of strips. tags: number of a tag → its value or its values,
    which replace or extend the tags that the values need; None leaves a tag out.
    """
    values = values.astype(f"{order}u{values.dtype.itemsize}")
    rows = -(-values.shape[0] // strips)
    parts = [values[at : at + rows].tobytes() for at in range(0, values.shape[0], rows)]
    return tiff_of_parts(parts, values.shape, values.dtype.itemsize * 8, order, rows, tags or {})


def tiff_of_parts(
    parts: Sequence[bytes],
    shape: tuple[int, ...],
    bits: int,
    order: str = "<",
    rows: int = 0,
    tags: dict[int, Any] | None = None,
) -> bytes:
    """Return a TIFF of strips or tiles that are packed already; the directory is at the end."""
    channels = (*shape, 1)[2]
    starts = [8 + sum(map(len, parts[:number])) for number in range(len(parts))]
    entries: dict[int, Any] = {
        256: shape[1],
        257: shape[0],
        258: [bits] * channels,
        259: 1,
        262: 2 if channels > 2 else 1,
        273: starts,
        277: channels,
        278: rows or shape[0],
        279: [len(part) for part in parts],
    } | (tags or {})
    body = (b"II*\0" if order == "<" else b"MM\0*") + bytes(4) + b"".join(parts)
    directory = b""
    present = {tag: entry for tag, entry in sorted(entries.items()) if entry is not None}
    for tag, entry in present.items():
        numbers = entry if isinstance(entry, list) else [entry]
        content = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            body, content = body + content, struct.pack(f"{order}I", len(body))
        directory += struct.pack(f"{order}HHI", tag, 4, len(numbers)) + content
    start = struct.pack(f"{order}I", len(body))
    count = struct.pack(f"{order}H", len(present))
    return body[:4] + start + body[8:] + count + directory + bytes(4)


def tiffs() -> Iterator[Case]:
    """Yield TIFFs, sound and damaged."""
    yield from _packed()
    yield from _stored()
    yield from _faulty()


def _packed() -> Iterator[Case]:
    pixels = noise()
    grey, deep = pixels[..., 0], pixels[..., 0].astype(np.uint16) * 257
    black_white = Pillow.fromarray(grey > 127)
    shown = np.asarray(black_white.convert("RGB"))
    for packing in PACKINGS:
        for name, values in {"rgb": pixels, "grey": grey, "16": deep}.items():
            data = saved(values, "TIFF", compression=packing)
            expected = pixels if name == "rgb" else _grey(grey)
            yield Case(name=f"tiff_{name}_{packing}", data=data, pixels=expected)
    for packing in ("group3", "group4", "tiff_ccitt"):
        data = saved(black_white, "TIFF", compression=packing)
        yield Case(name=f"tiff_{packing}", data=data, pixels=shown)
    jpeg = saved(scene(), "TIFF", compression="jpeg")
    yield Case(name="tiff_jpeg", data=jpeg, pixels=reference(jpeg))
    predicted = cv2.imencode(".tiff", pixels.astype(np.uint16)[..., ::-1] * 257)[1].tobytes()
    yield Case(name="tiff_16_rgb_predictor", data=predicted, pixels=pixels)
    big = saved(pixels, "TIFF", big_tiff=True)
    yield Case(name="tiff_big", data=big, pixels=pixels)
    pages = saved(pixels, "TIFF", save_all=True, append_images=[noise_image(9)] * 3)
    yield Case(name="tiff_pages", data=pages, pixels=pixels)
    palette = Pillow.fromarray(pixels).quantize(100)
    expected = np.asarray(palette.convert("RGB"))
    yield Case(name="tiff_palette", data=saved(palette, "TIFF"), pixels=expected)
    cmyk = Pillow.fromarray(pixels).convert("CMYK")
    yield Case(name="tiff_cmyk", data=saved(cmyk, "TIFF"), pixels=np.asarray(cmyk.convert("RGB")))
    tagged = saved(pixels, "TIFF", exif=exif(8)[6:], icc_profile=profile())
    yield Case(name="tiff_tagged", data=tagged, pixels=upright(pixels, 8))


def _stored() -> Iterator[Case]:
    pixels = noise()
    grey, deep = pixels[..., 0], pixels.astype(np.uint16) * 257
    clear = np.dstack([pixels, np.zeros((40, 60), np.uint8)])
    blank = np.full((40, 60, 3), 255, np.uint8)
    for order in "<>":
        sound: dict[str, tuple[bytes, NDArray[np.uint8]]] = {
            "rgb": (tiff(pixels, order, strips=7), pixels),
            "grey": (tiff(grey, order), _grey(grey)),
            "white_is_zero": (tiff(255 - grey, order, tags={262: 0}), _grey(grey)),
            "16": (tiff(deep[..., 0], order, strips=3), _grey(grey)),
            "16_rgb": (tiff(deep, order), pixels),
            "16_white_is_zero": (tiff(65535 - deep[..., 0], order, tags={262: 0}), _grey(grey)),
            "alpha": (tiff(clear, order, tags={338: 2}), blank),
            "fourth_channel": (tiff(clear, order, tags={338: 0}), pixels),
            "no_sizes_of_strips": (tiff(pixels, order, tags={279: None}), pixels),
        }
        for name, (data, expected) in sound.items():
            label = "little" if order == "<" else "big"
            yield Case(name=f"tiff_{name}_{label}", data=data, pixels=expected)
    for turn in range(1, 9):
        data = tiff(pixels, tags={274: turn})
        yield Case(name=f"tiff_turned_{turn}", data=data, pixels=upright(pixels, turn))
    planes = [np.ascontiguousarray(pixels[..., plane]).tobytes() for plane in range(3)]
    data = tiff_of_parts(planes, pixels.shape, 8, tags={284: 2})
    yield Case(name="tiff_planes", data=data, pixels=pixels)
    tiles = [
        np.pad(pixels, ((0, 8), (0, 4), (0, 0)))[y : y + 16, x : x + 16].tobytes()
        for y in range(0, 40, 16)
        for x in range(0, 60, 16)
    ]
    for packing, pack in {1: bytes, 8: zlib.compress}.items():
        parts = [pack(tile) for tile in tiles]
        place = {273: None, 278: None, 279: None, 322: 16, 323: 16}
        place |= {324: [8 + sum(map(len, parts[:at])) for at in range(len(parts))]}
        tags = place | {259: packing, 325: [len(part) for part in parts]}
        data = tiff_of_parts(parts, pixels.shape, 8, tags=tags)
        yield Case(name=f"tiff_tiles_{packing}", data=data, pixels=pixels)


def _faulty() -> Iterator[Case]:
    pixels = noise()
    half = pixels[:20].tobytes()
    packed = zlib.compress(pixels.tobytes())
    raw = saved(pixels, "TIFF")
    lzw = saved(pixels, "TIFF", compression="tiff_lzw")[8:1000]  # the strip is after the header
    jpeg = saved(scene(), "TIFF", compression="jpeg")
    end = jpeg.index(b"\xff\xd9")
    loop = bytearray(tiff(pixels))
    loop[-4:] = loop[4:8]
    yield Case(name="tiff_page_loop", data=bytes(loop), pixels=pixels)
    far = tiff(pixels)[:-4] + b"\xff\xff\xff\x7f"
    damaged = {
        "few_strips": tiff_of_parts([half], pixels.shape, 8, rows=20),
        "half_packed": tiff_of_parts([zlib.compress(half)], pixels.shape, 8, tags={259: 8}),
        "bad_packed": tiff_of_parts([packed[:50] + bytes(3000)], pixels.shape, 8, tags={259: 8}),
        "half_lzw": tiff_of_parts([lzw], pixels.shape, 8, tags={259: 5}),
        "jpeg_strip_without_end": jpeg[:end] + b"\0\0" + jpeg[end + 2 :],
        "no_strips": tiff(pixels, tags={273: None}),
        "no_width": tiff(pixels, tags={256: None}),
        "no_rows_per_strip": tiff(pixels, tags={278: 0}),
        "giant_tile": tiff(pixels, tags={322: 60_000, 323: 60_000, 324: 8}),
        "directory_in_header": b"II*\0\4\0\0\0" + raw[8:],
        "unknown_type": tiff(pixels).replace(struct.pack("<HHI", 256, 4, 1), b"\0\1\x63\0\1\0\0\0"),
    }
    for name, data in damaged.items():
        yield Case(name=f"tiff_{name}", data=data, code="damaged")
    strip_behind = tiff_of_parts([half, half], pixels.shape, 8, rows=20, tags={273: [8, 99_999]})
    yield Case(name="tiff_strip_behind_the_end", data=strip_behind, code="truncated")
    yield Case(name="tiff_page_behind_the_end", data=far, code="truncated")
    many = tiff(pixels, tags={273: [8] * 200_000, 279: [1] * 200_000})
    yield Case(name="tiff_many_strips", data=many, code="too_many_parts")
    others = {
        "float": saved(Pillow.fromarray(pixels[..., 0].astype(np.float32)), "TIFF"),
        "signed": tiff(pixels[..., 0].astype(np.uint16), tags={339: 2}),
        "32_bits": saved(Pillow.fromarray(pixels[..., 0].astype(np.int32)), "TIFF"),
        "lzma": saved(pixels, "TIFF", compression="lzma"),
        "lab": tiff(pixels, tags={262: 8}),
        "sensor": tiff(pixels[..., 0], tags={262: 32803}),
        "preview": tiff(pixels, tags={254: 1}),
        "dng": tiff(pixels, tags={50706: 1}),
        "grey_and_alpha_16": tiff(pixels[..., :2].astype(np.uint16), tags={338: 2}),
    }
    # OpenCV and Pillow return noise for planes of 16 bits, without an error.
    for order in "<>":
        deep = pixels.astype(f"{order}u2")
        parts = [deep[..., plane].tobytes() for plane in range(3)]
        others[f"planes_16_{order}"] = tiff_of_parts(parts, pixels.shape, 16, order, tags={284: 2})
    halves = [pixels[..., plane].tobytes() for plane in (0, 1)]
    others["planes_of_two_channels"] = tiff_of_parts(halves, (40, 60, 2), 8, tags={284: 2})
    spare = [pixels[..., plane].tobytes() for plane in (0, 1, 2, 0)]
    others["planes_and_a_spare"] = tiff_of_parts(spare, (40, 60, 4), 8, tags={284: 2, 338: 0})
    for name, data in others.items():
        yield Case(name=f"tiff_{name}", data=data, code="unsupported_format")


def _grey(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return values[..., None].repeat(3, 2)
