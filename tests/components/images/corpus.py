"""Nothing → files of every kind that a folder of images may hold: sound, odd, faulty.

Each case says what the decoder has to make of it: the code of a fault, or None and, where they are
known, the pixels. The files are made when asked for, always the same.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image as Pillow

from tests.components.images.crafted import (
    SIGNATURE,
    Case,
    bmp,
    exif,
    interlaced,
    noise,
    noise_image,
    npy,
    npy_header,
    profile,
    reference,
    saved,
    scene,
    upright,
)
from tests.components.images.gif_cases import gifs
from tests.components.images.jpeg_cases import jpegs
from tests.components.images.png_cases import pngs
from tests.components.images.tiff_cases import tiff, tiffs


def cases() -> Iterator[Case]:
    """Yield every case but the bombs."""
    for family in (no_images, cut_files, jpegs, pngs, webps, bmps, gifs, tiffs, arrays):
        yield from family()


def no_images() -> Iterator[Case]:
    """Yield what is no image, or none of a format that is read."""
    square = Pillow.new("RGB", (16, 16))
    texts = {
        "html": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "text": b"BMI and other measures of 20 people\n" * 20,
        "lfs_pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "zip": b"PK\x03\x04" + bytes(100),
        "zeroes": bytes(5000),
        "video": b"\0\0\0\x20ftypisom" + bytes(100),
        "one_byte": b"\xff",
        "half_a_signature": SIGNATURE[:6],
        "riff_sound": b"RIFF\x24\0\0\0WAVEfmt " + bytes(28),
    }
    yield Case(name="zero_bytes", data=b"", code="empty_file")
    for name, data in texts.items():
        yield Case(name=name, data=data, code="not_an_image")
    others = {kind: saved(square, kind) for kind in ("ICO", "AVIF", "JPEG2000")}
    others["heic"] = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    others["pgm"] = b"P5\n16 16\n255\n" + bytes(256)
    others["hdf5"] = b"\x89HDF\r\n\x1a\n" + bytes(100)
    others["svg"] = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>'
    others["pdf"] = b"%PDF-1.7\n" + bytes(100)
    others["dicom"] = bytes(128) + b"DICM" + bytes(100)
    others["nifti"] = bytes(344) + b"n+1\0" + bytes(100)
    others["raw"] = b"IIRO" + bytes(100)
    others["psd"] = b"8BPS\0\1" + bytes(100)
    for name, data in others.items():
        yield Case(name=name.lower(), data=data, code="unsupported_format")


def cut_files() -> Iterator[Case]:
    """Yield each format without its end, cut in its header, its picture and its last bytes."""
    whole = {
        "jpeg": saved(scene(), "JPEG"),
        "progressive": saved(scene(), "JPEG", progressive=True),
        "png": saved(scene(), "PNG"),
        "webp": saved(scene(), "WEBP"),
        "webp_lossless": saved(scene(), "WEBP", lossless=True),
        "bmp": saved(scene(), "BMP"),
        "npy": npy(scene()),
        "gif": saved(scene(), "GIF"),
        "tiff": saved(scene(), "TIFF"),
        "tiff_lzw": saved(scene(), "TIFF", compression="tiff_lzw"),
        "tiff_tiles_behind": tiff(scene(), strips=96),
    }
    for name, data in whole.items():
        for place in (20, len(data) // 3, len(data) // 2, len(data) - 100, len(data) - 2):
            yield Case(name=f"{name}_cut_at_{place}", data=data[:place], code="truncated")


def webps() -> Iterator[Case]:
    """Yield WebPs, lossy and lossless, with and without the extended header."""
    pixels = noise()
    exact = saved(pixels, "WEBP", lossless=True)
    lossy = saved(scene(), "WEBP")
    clear = np.dstack([pixels, np.zeros((40, 60), np.uint8)])
    yield Case(name="webp_lossless", data=exact, pixels=pixels)
    yield Case(name="webp_lossy", data=lossy, pixels=reference(lossy))
    shown = np.full((40, 60, 3), 255, np.uint8)
    for lossless in (True, False):
        data = saved(clear, "WEBP", lossless=lossless, exact=True)
        yield Case(name=f"webp_clear_{lossless}", data=data, pixels=shown)
    tagged = saved(pixels, "WEBP", lossless=True, exif=exif(8), icc_profile=profile())
    yield Case(name="webp_tagged", data=tagged, pixels=upright(pixels, 8))
    yield Case(name="webp_zip_behind", data=exact + b"PK\x03\x04" + bytes(100), pixels=pixels)
    odd = saved(noise(8, 9), "WEBP", lossless=True)  # a chunk of an odd length, and a pad byte
    yield Case(name="webp_no_last_pad", data=odd[:-1], pixels=noise(8, 9))
    frames = [noise_image(60), Pillow.new("RGB", (60, 60))]
    moving = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    yield Case(name="webp_animated", data=moving, code="animated")
    damaged = {
        "zeroed_header": exact[:21] + bytes(20) + exact[41:],
        "wrong_length": exact[:16] + b"\xff\xff\xff\x7f" + exact[20:],
        "no_picture": b"RIFF\x04\0\0\0WEBP",
        "wrong_canvas": tagged[:24] + b"\x05" + tagged[25:],
        "no_width": lossy[:26] + bytes(2) + lossy[28:],
    }
    for name, data in damaged.items():
        yield Case(name=f"webp_{name}", data=data, code="damaged")


def bmps() -> Iterator[Case]:
    """Yield BMPs of every depth, from the bottom up and from the top down, and run lengths."""
    values = noise()[..., 0]
    for bits in (1, 4, 8):
        kept = values >> (8 - bits)
        shown = (kept * np.uint8(255 // (2**bits - 1)))[..., None].repeat(3, 2)
        for top_down in (False, True):
            data = bmp(kept, bits, top_down)
            yield Case(name=f"bmp_{bits}{'_top_down' * top_down}", data=data, pixels=shown)
    for top_down in (False, True):
        data = bmp(noise()[..., ::-1], 24, top_down)
        yield Case(name=f"bmp_24{'_top_down' * top_down}", data=data, pixels=noise())
    runs = b"\x06\x00\x00\x00" + b"\x06\xff\x00\x00" + b"\x00\x01"  # bottom row first
    shown = np.repeat(np.array([255, 0], np.uint8), 18).reshape(2, 6, 3)
    for bits in (4, 8):
        data = bmp(np.zeros((2, 6), np.uint8), bits, rle=runs)
        yield Case(name=f"bmp_rle{bits}", data=data, pixels=shown)
    plain = saved(noise(), "BMP")
    yield Case(name="bmp_zip_behind", data=plain + b"PK\x03\x04" + bytes(100), pixels=noise())
    damaged = {
        "unknown_header": plain[:14] + b"\x29" + plain[15:],
        "unknown_depth": plain[:28] + b"\x07" + plain[29:],
        "unknown_packing": plain[:30] + b"\x09" + plain[31:],
        "no_width": plain[:18] + bytes(4) + plain[22:],
    }
    for name, data in damaged.items():
        yield Case(name=f"bmp_{name}", data=data, code="damaged")
    cut = bmp(np.zeros((2, 6), np.uint8), 8, rle=runs)[:-8]
    yield Case(name="bmp_rle_cut", data=cut, code="truncated")


def arrays() -> Iterator[Case]:
    """Yield .npy files with one picture, and with everything else."""
    pixels = noise()
    grey = pixels[..., :1].repeat(3, 2)
    deep = pixels[..., 0].astype(np.uint16) * 257
    clear = np.dstack([pixels, np.zeros((40, 60), np.uint8)])
    black_white = pixels[..., 0] > 127
    shown = (black_white * np.uint8(255))[..., None].repeat(3, 2)
    sound = {
        "grey": (pixels[..., 0], grey),
        "one_channel": (pixels[..., :1], grey),
        "rgb": (pixels, pixels),
        "columns_first": (np.asfortranarray(pixels), pixels),
        "rgba": (clear, np.full((40, 60, 3), 255, np.uint8)),
        "bool": (black_white, shown),
        "16": (deep, grey),
        "16_other_order": (deep.astype(">u2"), grey),
        "16_rgb": (pixels.astype(np.uint16) << 8, pixels),
    }
    for name, (values, expected) in sound.items():
        yield Case(name=f"npy_{name}", data=npy(values), pixels=expected)
    others = {
        "float": np.zeros((4, 4)),
        "signed": np.zeros((4, 4), np.int16),
        "two_channels": np.zeros((4, 4, 2), np.uint8),
        "flat": np.zeros(16, np.uint8),
        "number": np.uint8(7),
        "many": np.zeros((2, 4, 4, 3), np.uint8),
        "pickled": np.array([[print, {}]], dtype=object),
        "fields": np.zeros((4, 4), [("red", np.uint8), ("green", np.uint8)]),
        "text": np.full((4, 4), "a"),
    }
    for name, array in others.items():
        yield Case(name=f"npy_{name}", data=npy(np.asarray(array)), code="not_an_image")
    good = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2), }"
    damaged = {
        "empty": npy(np.zeros((0, 5), np.uint8)),
        "surplus": npy(pixels) + b"\0",
        "no_python": npy_header("{'descr': '|u1', 'fortran", bytes(4)),
        "code": npy_header("__import__('os').getcwd()", bytes(4)),
        "missing_key": npy_header("{'descr': '|u1', 'shape': (2, 2), }", bytes(4)),
        "negative": npy_header(good.replace("(2, 2)", "(-2, -2)"), bytes(4)),
        "deep": npy_header("(" * 5000, bytes(4)),
        "version": b"\x93NUMPY\x09\0" + npy_header(good, bytes(4))[8:],
    }
    for name, data in damaged.items():
        yield Case(name=f"npy_{name}", data=data, code="damaged")


# Kind, mode, options of Pillow's: as they come from cameras, phones, scanners and programs.
WRITERS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("JPEG", "RGB", {}),
    ("JPEG", "RGB", {"subsampling": "4:4:4"}),
    ("JPEG", "RGB", {"subsampling": "4:2:2", "optimize": True}),
    ("JPEG", "RGB", {"progressive": True}),
    ("JPEG", "RGB", {"restart_marker_rows": 1}),
    ("JPEG", "RGB", {"keep_rgb": True}),
    ("JPEG", "RGB", {"exif": exif(6), "icc_profile": profile()}),
    ("JPEG", "L", {}),
    ("JPEG", "L", {"progressive": True}),
    ("JPEG", "CMYK", {}),
    ("PNG", "RGB", {}),
    ("PNG", "RGB", {"exif": exif(8, ">"), "icc_profile": profile()}),
    ("PNG", "RGBA", {}),
    ("PNG", "LA", {}),
    ("PNG", "L", {"optimize": True}),
    ("PNG", "1", {}),
    ("PNG", "P", {}),
    ("PNG", "P", {"transparency": 3}),
    ("PNG", "I;16", {}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGB", {"lossless": True, "exif": exif(3)}),
    ("WEBP", "RGBA", {}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("BMP", "RGB", {}),
    ("BMP", "L", {}),
    ("BMP", "P", {}),
    ("BMP", "1", {}),
    ("GIF", "P", {}),
    ("GIF", "L", {"interlace": 0}),
    ("TIFF", "RGB", {}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "RGBA", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", "L", {"compression": "packbits"}),
    ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "P", {}),
    ("TIFF", "I;16", {"compression": "zstd"}),
)


def clean(count: int) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of sound files of every format, from 1 to 64 pixels a side."""
    chance = np.random.default_rng(3)
    for number in range(count):
        height, width = chance.integers(1, 65, 2)
        pixels = (noise if number % 3 else scene)(int(height), int(width))
        choice = number % (len(WRITERS) + 2)
        if choice >= len(WRITERS):
            data = npy(pixels) if choice % 2 else interlaced(pixels)
            yield f"{number}_{'npy' if choice % 2 else 'interlaced'}", data
            continue
        kind, mode, options = WRITERS[choice]
        quality = {"quality": 1 + number % 100} if kind == "JPEG" else {}
        image = Pillow.fromarray(pixels).convert(mode.replace("I;16", "I")).convert(mode)
        yield f"{number}_{kind}_{mode}", saved(image, kind, **quality, **options)
