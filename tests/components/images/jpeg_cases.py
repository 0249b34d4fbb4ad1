"""Nothing → JPEGs of every kind: sound, odd, damaged."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image as Pillow

from tests.components.images.crafted import (
    END,
    Case,
    Pixels,
    exif,
    flat_jpeg,
    noise,
    noise_image,
    profile,
    reference,
    saved,
    scene,
    segment,
    upright,
    with_segments,
    zeroed,
)


def jpegs() -> Iterator[Case]:
    """Yield JPEGs: odd ones that are sound, and damage at every place."""
    plain = saved(scene(), "JPEG")
    pixels = reference(plain)
    yield Case(name="jpeg", data=plain, pixels=pixels)
    for sampling in ("4:4:4", "4:2:2", "4:2:0"):
        for progressive in (False, True):
            data = saved(scene(), "JPEG", subsampling=sampling, progressive=progressive)
            name = f"jpeg_{sampling.replace(':', '')}" + "_progressive" * progressive
            yield Case(name=name, data=data, pixels=reference(data))
    options: dict[str, dict[str, Any]] = {
        "restart_rows": {"restart_marker_rows": 1},
        "restart_blocks": {"restart_marker_blocks": 3},
        "own_tables": {"optimize": True},
        "rgb": {"keep_rgb": True},
        "quality_1": {"quality": 1},
    }
    for name, option in options.items():
        data = saved(scene(), "JPEG", **option)
        yield Case(name=f"jpeg_{name}", data=data, pixels=reference(data))
    yield Case(
        name="jpeg_grey", data=(data := saved(scene()[..., 0], "JPEG")), pixels=reference(data)
    )
    yield Case(name="jpeg_1x1", data=(data := saved(scene(1, 1), "JPEG")), pixels=reference(data))
    yield Case(
        name="jpeg_strip", data=(data := saved(scene(2, 9000), "JPEG")), pixels=reference(data)
    )
    odd = flat_jpeg((128, 64), luma=0x42)
    yield Case(name="jpeg_rare_sampling", data=odd, pixels=np.full((64, 128, 3), 128, np.uint8))
    yield from cmyk_jpegs()
    yield from tagged_jpegs(plain, pixels)
    yield from damaged_jpegs(plain)


def cmyk_jpegs() -> Iterator[Case]:
    """Yield JPEGs of four colours: Adobe's, the same without its marker, and YCCK."""
    adobe = saved(Pillow.fromarray(scene()).convert("CMYK"), "JPEG")
    start = adobe.index(b"\xff\xee")
    bare = adobe[:start] + adobe[start + 16 :]
    ycck = adobe[: start + 15] + b"\2" + adobe[start + 16 :]
    for name, data in {"adobe": adobe, "bare": bare, "ycck": ycck}.items():
        yield Case(name=f"cmyk_{name}", data=data, pixels=reference(data))
    yield Case(name="cmyk_cut", data=adobe[: len(adobe) // 2], code="truncated")
    yield Case(name="cmyk_zeroed", data=zeroed(adobe, 0.5, 512), code="damaged")


def tagged_jpegs(plain: bytes, pixels: Pixels) -> Iterator[Case]:
    """Yield JPEGs with much around their picture, which stays what it is."""
    colours = b"ICC_PROFILE\0"
    end = len(plain) - 2
    scan = plain.index(b"\xff\xda")
    version = plain.index(b"JFIF\0") + 5
    sound = {
        "zip_behind": plain + b"PK\x03\x04" + bytes(1000),
        "zeroes_behind": plain + bytes(3),
        "picture_behind": plain + saved(noise(), "JPEG"),
        "double_end": plain + END,
        "zero_padding": plain[:end] + bytes(12) + END,
        "fill_bytes": plain[:end] + b"\xff" * 9 + END,
        "comment": with_segments(plain, segment(0xFE, b"hello")),
        "broken_profile": with_segments(plain, segment(0xE2, colours + b"\1\1nonsense")),
        "profile_in_part": with_segments(plain, segment(0xE2, colours + b"\1\2" + profile())),
        "jfif_9": plain[:version] + b"\x09" + plain[version + 1 :],
        "zero_scan_parameters": plain[: scan + 11] + bytes(3) + plain[scan + 14 :],
        "mpo": saved(scene(), "MPO", save_all=True, append_images=[noise_image(60)]),
    }
    for name, data in sound.items():
        yield Case(name=f"jpeg_{name}", data=data, pixels=pixels)
    blocks = {
        "cut": exif(6)[:12],
        "long": exif(6).replace(b"\1\0", b"\xff\xff", 1),
        "elsewhere": exif(6)[:10] + b"\xff\xff\xff\x7f" + exif(6)[14:],
        "nonsense": b"Exif\0\0" + bytes(range(200)),
        "orientation_0": exif(0),
        "orientation_9": exif(9),
    }
    for name, block in blocks.items():
        tagged = with_segments(plain, segment(0xE1, block))
        turned = name == "long"  # the first entry of too many is sound
        yield Case(
            name=f"exif_{name}", data=tagged, pixels=np.rot90(pixels, -1) if turned else pixels
        )
    for orientation in range(1, 9):
        for order in "<>":
            tagged = with_segments(plain, segment(0xE1, exif(orientation, order)))
            name = f"exif_{orientation}{'le' if order == '<' else 'be'}"
            yield Case(name=name, data=tagged, pixels=upright(pixels, orientation))


def damaged_jpegs(plain: bytes) -> Iterator[Case]:
    """Yield JPEGs with damage in header and scan, of sizes that are always found."""
    scan, frame = plain.index(b"\xff\xda"), plain.index(b"\xff\xc0")
    twelve = plain[: frame + 4] + b"\x0c" + plain[frame + 5 :]
    lossless = plain[: frame + 1] + b"\xc3" + plain[frame + 2 :]
    yield Case(name="jpeg_12_bit", data=twelve, code="unsupported_format")
    yield Case(name="jpeg_lossless", data=lossless, code="unsupported_format")
    grain = np.random.default_rng(2).integers(0, 256, 512, dtype=np.uint8).tobytes()
    middle = (scan + len(plain)) // 2
    damaged = {
        "zeroed_early": zeroed(plain, 0.25, 512),
        "zeroed_late": zeroed(plain, 0.75, 512),
        "random_block": plain[:middle] + grain + plain[middle + 512 :],
        "block_lost": plain[:middle] + plain[middle + 512 :],
        "zeroed_behind_junk": zeroed(plain, 0.5, 512) + bytes(200),
        "progressive_zeroed": zeroed(saved(scene(), "JPEG", progressive=True), 0.5, 512),
        "wrong_component": plain[: scan + 5] + b"\x63" + plain[scan + 6 :],
        "wrong_table": plain[: scan + 6] + b"\x33" + plain[scan + 7 :],
        "wrong_count": plain[: scan + 4] + b"\2" + plain[scan + 5 :],
        "no_picture": plain[:frame] + END,
        "no_height": plain[: frame + 5] + bytes(2) + plain[frame + 7 :],
        "two_frames": plain[:frame] + plain[frame : frame + 19] + plain[frame:],
        "wrong_length": plain[:4] + b"\xff\xff" + plain[6:],
        "surplus": plain[:-2] + grain[:40].replace(b"\xff", b"") + END,
    }
    for name, data in damaged.items():
        yield Case(name=f"jpeg_{name}", data=data, code="damaged")
    yield Case(name="jpeg_no_end", data=plain[:-2], code="truncated")
