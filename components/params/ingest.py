"""Section `ingest`: how images and labels are stored, and how bytes become pixels."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from components.params.section import Byte, Name, Positive, Section, require

Word = Annotated[int, Field(ge=0, le=65535)]


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


class Window(Section):
    """The values of 16 bits that become 0 (`low`) and 255 (`high`); values between are scaled."""

    low: Word
    high: Word

    @model_validator(mode="after")
    def _check_order(self) -> "Window":
        return require(self, self.low < self.high, "low must be below high")


class Windowed(Section):
    """The value `{ window: { low: …, high: … } }` of the param `ingest.decode.sixteen_bit`."""

    window: Window


def _sixteen_bit_kind(value: Any) -> str:
    """Return the tag of the type that checks a value, so that errors are only about this type."""
    given = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return "window" if "window" in given else "word"


SIXTEEN_BIT_WORDS = ("high_byte", "stretch", "refuse")
SixteenBit = Annotated[
    Annotated[Literal["high_byte", "stretch", "refuse"], Tag("word")]
    | Annotated[Windowed, Tag("window")],
    Discriminator(_sixteen_bit_kind),
]


class Decode(Section):
    """How the bytes of a file become RGB pixels, and which files are refused.

    A refused file gets a row in the manifest with the reason, but its image is not used.
    cmyk: images with the four colours of print. `convert`: convert the colours to RGB.
    palette: images whose pixels are numbers of colours. `expand`: replace the numbers by the
    colours. With `refuse`, such images are refused.
    """

    max_bytes: Positive = Field(description="a file with more bytes than this is refused")
    max_pixels: Positive = Field(description="an image with more pixels than this is refused")
    sixteen_bit: SixteenBit = Field(
        description="images of 16 bits. high_byte: keep the upper 8 bits; stretch: scale the "
        "values from the lowest to the highest value of each image; { window: { low: 0, high: "
        "4095 } }: scale the values of all images from low to high; refuse: refuse the image"
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

    @field_validator("sixteen_bit", mode="before")
    @classmethod
    def _check_word(cls, value: Any) -> Any:
        if _sixteen_bit_kind(value) == "word" and value not in SIXTEEN_BIT_WORDS:
            words = ", ".join(SIXTEEN_BIT_WORDS)
            raise ValueError(f"be {words} or {{ window: {{ low: 0, high: 4095 }} }}")
        return value

    def saved_sixteen_bit(self) -> str | dict[str, Any]:
        """Return `sixteen_bit` as it is saved with a model, which needs the same rule later.

        `refuse` is saved as `high_byte`: the model was trained without images of 16 bits.
        """
        rule: str | dict[str, Any] = self.model_dump()["sixteen_bit"]
        return "high_byte" if rule == "refuse" else rule

    def pixel_rules(self) -> dict[str, Any]:
        """Return the rules that decide about pixels and refusals: all but the two limits of size.

        They are saved with a model, because whoever decodes images for it needs the same rules.
        """
        return self.model_dump(mode="json", exclude={"max_bytes", "max_pixels"})

    def with_pixel_rules(self, saved: Mapping[str, Any]) -> "Decode":
        """Return a copy with the rules of a saved model. Rules that are missing stay as they are.

        Raises pydantic.ValidationError if a rule has a value that params.yaml may not have.
        """
        own = self.model_dump()
        known = own.keys() - {"max_bytes", "max_pixels"}
        rules = own | {key: saved[key] for key in known & saved.keys()}
        # As JSON, because a saved colour is a list, which Python's mode takes for no tuple.
        return Decode.model_validate_json(json.dumps(rules))

    def with_sixteen_bit(self, saved: str | Mapping[str, Any]) -> "Decode":
        """Return a copy with the rule of a saved model, unless the copy would mean the same."""
        if saved == self.saved_sixteen_bit():
            return self
        return Decode.model_validate(self.model_dump() | {"sixteen_bit": saved})


class Ingest(Section):
    """How files become rows of the manifest, and how their bytes become pixels."""

    source: Source
    decode: Decode
