"""Section `ingest`: where images and labels are found, and how bytes become pixels."""

from typing import Literal

from pydantic import Field

from components.params.section import Byte, Name, Positive, Section


class Columns(Section):
    """Names of a table's columns; the columns for `group` and `split` may be missing."""

    path: Name
    label: Name
    group: Name
    split: Name


class Source(Section):
    """The form of the images and labels in data/raw."""

    kind: Literal["auto", "class_folders", "split_folders", "table", "arrays"]
    columns: Columns
    group: Literal["none", "subfolder"] = Field(
        description="subfolder: the folders in a class folder are groups"
    )


class Decode(Section):
    """How the bytes of a file become RGB pixels, and which files are refused."""

    max_bytes: Positive = Field(description="a file of more bytes is refused")
    max_pixels: Positive = Field(description="an image of more pixels is refused")
    sixteen_bit: Literal["high_byte", "refuse"] = Field(description="16 bits become 8: value >> 8")
    cmyk: Literal["convert", "refuse"]
    grey: Literal["repeat", "refuse"] = Field(description="one channel becomes three equal ones")
    palette: Literal["expand", "refuse"]
    alpha: Literal["blend", "drop", "refuse"] = Field(
        description="transparency, of a palette as well: blend with `background`, or drop it and "
        "keep the colours"
    )
    background: tuple[Byte, Byte, Byte] = Field(description="RGB colour behind transparent pixels")
    icc_profile: Literal["ignore", "srgb", "refuse"] = Field(
        description="srgb: convert from the embedded profile to sRGB; refuse: images with another "
        "profile than sRGB"
    )


class Ingest(Section):
    """How files become rows of the manifest, and pixels."""

    source: Source
    decode: Decode
