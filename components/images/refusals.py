"""Facts of an image, params → a Fault where the image is refused before it is decoded."""

from components.images.fault import Facts, Fault
from components.params.ingest import Decode

GREY = frozenset({"1", "L", "LA", "I;16"})  # Pillow's modes with one channel of colour


def check_size(facts: Facts, params: Decode) -> None:
    """Raise Fault for a picture without pixels, with too many, or with several frames."""
    width, height, frames = facts.width or 0, facts.height or 0, facts.frames or 0
    if min(width, height) < 1:
        raise Fault("damaged", f"its header says {width} × {height} pixels")
    if width * height > params.max_pixels:
        text = f"{width} × {height} pixels, above ingest.decode.max_pixels = {params.max_pixels}"
        raise Fault("too_many_pixels", text)
    if frames > 1 and facts.format != "jpeg":
        raise Fault("animated", f"{frames} frames, none of which represents the others")


def check_kind(facts: Facts, params: Decode) -> None:
    """Raise Fault where params refuse what a file stores; the code is the key of the params.

    What the file stores decides: a grey picture that is stored as RGB is not grey here.
    """
    cases = (
        ("sixteen_bit", facts.bit_depth == 16, "16 bits a channel"),
        ("cmyk", facts.mode == "CMYK", "the four colours of print (CMYK)"),
        ("grey", facts.mode in GREY, "one channel (grey)"),
        ("palette", facts.mode == "P", "a palette"),
    )
    for code, holds, what in cases:
        if holds and getattr(params, code) == "refuse":
            raise Fault(code, f"it has {what}, which ingest.decode.{code} refuses", facts)


def check_transparency(transparent: bool, params: Decode) -> None:
    """Raise Fault where params refuse a picture of which some is (partly) transparent."""
    if transparent and params.alpha == "refuse":
        raise Fault("transparent", "some of it is transparent, which ingest.decode.alpha refuses")
