"""Facts of an image and params → a Fault if an image with these facts is refused."""

from components.images.fault import Facts, Fault
from components.params.ingest import Decode

GREY = frozenset({"1", "L", "LA", "I;16"})  # Pillow's modes with one channel of colour
FIRST = frozenset({"jpeg", "gif", "tiff"})  # only the first picture of such a file is decoded


def check_size(facts: Facts, params: Decode) -> None:
    """Raise Fault if an image has no pixels, too many pixels, or several frames.

    A file of the formats FIRST with several pictures is accepted.
    """
    width, height, frames = facts.width or 0, facts.height or 0, facts.frames or 0
    if min(width, height) < 1:
        raise Fault("damaged", f"its header says {width} × {height} pixels")
    if width * height > params.max_pixels:
        limit = f"ingest.decode.max_pixels = {params.max_pixels}"
        text = f"it has {width} × {height} pixels, more than {limit}"
        raise Fault("too_many_pixels", text)
    if frames > 1 and facts.format not in FIRST:
        raise Fault("animated", f"it is animated ({frames} frames); animations are not supported")


def check_kind(facts: Facts, params: Decode) -> None:
    """Raise Fault if the params refuse the way in which the file stores its pixels.

    The code of the Fault is the name of the param that refuses the image. The colours themselves
    are not checked. For example, a picture that shows only grey but is stored as RGB is accepted
    with `grey: refuse`.
    """
    cases = (
        ("sixteen_bit", facts.bit_depth == 16, "16 bits per channel"),
        ("cmyk", facts.mode == "CMYK", "the four colours of print (CMYK)"),
        ("grey", facts.mode in GREY, "one channel (grey)"),
        ("palette", facts.mode == "P", "a palette"),
    )
    for code, holds, what in cases:
        if holds and getattr(params, code) == "refuse":
            raise Fault(code, f"it has {what}, and ingest.decode.{code} is `refuse`", facts)


def check_transparency(transparent: bool, params: Decode) -> None:
    """Raise Fault if the picture has transparent pixels and the params refuse them.

    transparent: whether at least one pixel is transparent or partly transparent.
    """
    if transparent and params.alpha == "refuse":
        raise Fault("transparent", "it has transparent pixels, and ingest.decode.alpha is `refuse`")
