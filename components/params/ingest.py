"""Section `ingest`: where images and labels are found, and how bytes become pixels."""

from typing import Literal

from pydantic import Field

from components.params.section import Byte, Name, Positive, Section


class Columns(Section):
    """Names of the columns of a table. The table may lack the columns for `group` and `split`."""

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
    sixteen_bit: Literal["high_byte", "refuse"] = Field(description="high_byte: the upper 8 bits")
    cmyk: Literal["convert", "refuse"]
    grey: Literal["repeat", "refuse"] = Field(description="repeat: R = G = B")
    palette: Literal["expand", "refuse"]
    alpha: Literal["blend", "drop", "refuse"] = Field(
        description="transparent pixels, also those of a palette. blend: mix them with "
        "`background`; drop: ignore the transparency and keep the colours"
    )
    background: tuple[Byte, Byte, Byte] = Field(description="RGB colour behind transparent pixels")
    icc_profile: Literal["ignore", "srgb", "refuse"] = Field(
        description="srgb: convert the embedded profile to sRGB; refuse: refuse images whose "
        "embedded profile is not sRGB"
    )


class Ingest(Section):
    """How files become rows of the manifest, and how their bytes become pixels."""

    source: Source
    decode: Decode
