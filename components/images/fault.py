"""What the decoder reports of an image: Facts, and Fault where it is refused."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of an image; None where its bytes do not say it.

    width and height are in pixels, upright for a decoded image, as stored for a faulty one; mode
    is Pillow's; bit_depth counts one channel; orientation is the EXIF value, 1 where there is none.
    """

    format: str | None = None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    bit_depth: int | None = None
    frames: int | None = None
    orientation: int | None = None


class Fault(Exception):  # noqa: N818 (a finding about data, not an error of ours)
    """Why an image is refused: a code for tables, a text for people, and the facts known so far."""

    def __init__(self, code: str, text: str, facts: Facts | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.facts = facts or Facts()
