"""Section `ingest`: how images and labels are stored, and how bytes become pixels."""

from typing import Literal

from pydantic import Field

from components.params.section import Byte, Name, Positive, Section


class Columns(Section):
    """The names of four columns of a table that lists the images.

    A table must have the columns for `path` and `label`. The columns for `group` and `split` are
    optional.
    """

    path: Name
    label: Name
    group: Name
    split: Name


class Source(Section):
    """How the images and labels in data/raw are stored.

    kind: `class_folders`: a folder for each class. `split_folders`: folders for train, val and
    test, with class folders in each of them. `table`: a file that lists paths and labels. `arrays`:
    .npy or .npz files. `auto`: find out which of the four kinds it is.
    """

    kind: Literal["auto", "class_folders", "split_folders", "table", "arrays"]
    columns: Columns
    group: Literal["none", "subfolder"] = Field(
        description="none: no groups; subfolder: the images of each folder inside a class folder "
        "are a group, and all images of a group get the same split"
    )


class Decode(Section):
    """How the bytes of a file become RGB pixels, and which files are refused.

    A refused file gets a row in the manifest with the reason, but its image is not used.
    cmyk: images with the four colours of print. `convert`: convert the colours to RGB.
    palette: images whose pixels are numbers of colours. `expand`: replace the numbers by the
    colours. With `refuse`, such images are refused.
    """

    max_bytes: Positive = Field(description="a file with more bytes than this is refused")
    max_pixels: Positive = Field(description="an image with more pixels than this is refused")
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
