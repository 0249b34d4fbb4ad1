"""First bytes of a file → the name of its format, as phones and instruments really write them."""

import pytest

from components.images.signatures import is_read, name_format, way_out


def picture(major: bytes, *others: bytes) -> bytes:
    """Return the first box of a file of the MP4 family, and the start of the next box."""
    brands = b"".join(others)
    return (16 + len(brands)).to_bytes(4) + b"ftyp" + major + bytes(4) + brands + b"\0\0\0\x08avif"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (picture(b"heic", b"mif1", b"heic"), "heic"),
        (picture(b"mif1", b"mif1", b"heix"), "heic"),  # Canon
        (picture(b"MiHE", b"mif1", b"heic"), "heic"),
        (picture(b"hevx", b"msf1"), "heic"),
        (picture(b"mif1", b"miaf"), "heic"),
        (picture(b"avif", b"mif1", b"miaf"), "avif"),
        (picture(b"mif1", b"avif", b"miaf"), "avif"),
        (picture(b"crx ", b"isom"), "camera_raw"),
        (picture(b"isom", b"mp41"), None),
        (b"\0\0\0\x18ftypheic", "heic"),  # the rest is missing
        (b"P5\n16 16\n255\n", "netpbm"),
        (b"P6 16 16 255\n", "netpbm"),
        (b"P8\n", None),
        (b"P5x", None),
    ],
)
def test_a_format_is_named_by_its_first_bytes(data: bytes, name: str | None) -> None:
    assert name_format(data) == name
    assert name is None or (not is_read(name) and "; " in way_out(name))
