"""Section `ingest`: in which form images come, and how bytes become pixels."""

from typing import Literal

from pydantic import Field

from components.params.section import Byte, Name, Positive, Section


class Columns(Section):
    """Names of a table's columns; `group` and `split` may be absent from the table."""

    path: Name
    label: Name
    group: Name
    split: Name


class Source(Section):
    """In which form the images lie in data/raw."""

    kind: Literal["auto", "class_folders", "split_folders", "table", "arrays"]
    columns: Columns
    group: Literal["none", "subfolder"] = Field(
        description="whether the folders inside of a class folder are groups"
    )


class Decode(Section):
    """How the bytes of a file become RGB pixels, and what is refused."""

    max_bytes: Positive = Field(description="bytes above which a file is not read")
    max_pixels: Positive = Field(description="pixels above which an image is not decoded")
    sixteen_bit: Literal["high_byte", "refuse"] = Field(description="16 → 8 bits: value >> 8")
    cmyk: Literal["convert", "refuse"]
    grey: Literal["repeat", "refuse"] = Field(description="one channel → three equal ones")
    palette: Literal["expand", "refuse"]
    alpha: Literal["blend", "drop", "refuse"] = Field(
        description="blend: over `background`, drop: the colours under it; of a palette too"
    )
    background: tuple[Byte, Byte, Byte] = Field(description="RGB laid behind transparent pixels")
    icc_profile: Literal["ignore", "srgb", "refuse"] = Field(
        description="srgb: colours are converted as an embedded profile says; refuse: if not sRGB"
    )


class Ingest(Section):
    """How files become manifest rows and pixels."""

    source: Source
    decode: Decode
