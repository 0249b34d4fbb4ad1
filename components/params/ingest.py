"""Section `ingest`: how images and labels are stored, and how bytes become pixels."""

from typing import Literal

from pydantic import Field

from components.params.section import Byte, Name, Positive, Section


class Columns(Section):
    """The names of four columns of a table. The columns `group` and `split` are optional."""

    path: Name
    label: Name
    group: Name
    split: Name


class Source(Section):
    """How the images and labels in data/raw are stored."""

    kind: Literal["auto", "class_folders", "split_folders", "table", "arrays"]
    columns: Columns
    group: Literal["none", "subfolder"] = Field(
        description="subfolder: each folder inside a class folder is a group of images"
    )


class Decode(Section):
    """How the bytes of a file become RGB pixels, and which files are refused."""

    max_bytes: Positive = Field(description="a file of more bytes is refused")
    max_pixels: Positive = Field(description="an image of more pixels is refused")
    sixteen_bit: Literal["high_byte", "refuse"] = Field(
        description="images of 16 bits. high_byte: keep the upper 8 bits; refuse: refuse the image"
    )
    cmyk: Literal["convert", "refuse"]
    grey: Literal["repeat", "refuse"] = Field(
        description="images of one channel. repeat: use the channel as R, G and B; refuse: refuse "
        "the image"
    )
    palette: Literal["expand", "refuse"]
    alpha: Literal["blend", "drop", "refuse"] = Field(
        description="images with transparent pixels, including images with transparent colours in "
        "a palette. blend: mix the pixels with `background`; drop: keep the colours of the pixels "
        "and drop the transparency; refuse: refuse the image"
    )
    background: tuple[Byte, Byte, Byte] = Field(description="RGB colour behind transparent pixels")
    icc_profile: Literal["ignore", "srgb", "refuse"] = Field(
        description="images with an embedded ICC profile. ignore: keep the colour values; srgb: "
        "convert the colours to sRGB; refuse: refuse the image if its profile is not sRGB"
    )


class Ingest(Section):
    """How files become rows of the manifest, and how their bytes become pixels."""

    source: Source
    decode: Decode
