"""Nothing → GIFs as programs write them, and GIFs with faults."""

from collections.abc import Iterator

import numpy as np
from PIL import Image as Pillow

from tests.components.images.crafted import Case, noise, noise_image, saved


def gifs() -> Iterator[Case]:
    """Yield GIFs with one frame and several, and GIFs that are cut or damaged."""
    image = Pillow.fromarray(noise()).quantize(200)
    pixels = np.asarray(image.convert("RGB"))
    plain = saved(image, "GIF", interlace=0)
    woven = saved(image, "GIF", interlace=1)
    moving = saved(image, "GIF", save_all=True, append_images=[noise_image(40)] * 3)
    grey = noise()[..., 0]
    frame = plain.index(b"\x2c", 13 + 3 * 256)
    sound = {
        "plain": plain,
        "interlaced": woven,
        "87": saved(image, "GIF").replace(b"GIF89a", b"GIF87a", 1),
        "frames": moving,
        "comment": saved(image, "GIF", comment=b"c" * 100_000),
        "zero_between": plain[:-1] + bytes(3) + plain[-1:],
        "zip_behind": plain + b"PK\x03\x04" + bytes(100),
    }
    for name, data in sound.items():
        yield Case(name=f"gif_{name}", data=data, pixels=pixels)
    yield Case(name="gif_grey", data=saved(grey, "GIF"), pixels=grey[..., None].repeat(3, 2))
    clear = Pillow.new("P", (8, 8), 5)
    clear.putpalette([1, 2, 3] * 8)
    shown = np.full((8, 8, 3), 255, np.uint8)
    yield Case(name="gif_clear", data=saved(clear, "GIF", transparency=5), pixels=shown)
    for name, data in {"plain": plain, "interlaced": woven}.items():
        start = data.index(b"\x2c", 13 + 3 * 256) + 11
        size = data[start]
        early = data[: start + 1 + size] + b"\0;"  # only the first piece of the pixel data
        yield Case(name=f"gif_{name}_early_end", data=early, code="damaged")
        stop = data[:start] + b"\x02\x00\x03" + b"\0;"  # the code for "clear", and little else
        yield Case(name=f"gif_{name}_stops", data=stop, code="damaged")
    damaged = {
        "no_frame": plain[:frame] + b";",
        "unknown_block": plain[:-1] + b"\x99;",
        "no_width": plain[: frame + 5] + bytes(2) + plain[frame + 7 :],
    }
    for name, data in damaged.items():
        yield Case(name=f"gif_{name}", data=data, code="damaged")
