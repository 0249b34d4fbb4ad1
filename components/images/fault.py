"""The decoder's result types: Facts about an image, and Fault, raised if an image is refused."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known about an image. A field is None if its value cannot be read from the bytes.

    width, height: in pixels. For a decoded image, after the EXIF orientation was applied. For a
    refused image, as stored in the file.
    mode: Pillow's mode, such as RGB or L. bit_depth: bits per channel. frames: number of pictures.
    orientation: the EXIF value, 1 to 8; 1 if the file has none.
    """

    format: str | None = None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    bit_depth: int | None = None
    frames: int | None = None
    orientation: int | None = None


class Fault(Exception):  # noqa: N818 (a finding about data, not an error of ours)
    """The reason why an image is refused: a code for tables, a text for people, the known facts."""

    def __init__(self, code: str, text: str, facts: Facts | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.facts = facts or Facts()
