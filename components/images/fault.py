"""Two types of the decoder: Facts about an image, and Fault, which is raised to refuse an image."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known about an image. A field is None if its value is not known.

    format: the name of the file format, such as jpeg.
    width, height: the size in pixels. For a decoded image, it is the size after the EXIF
    orientation was applied. For a refused image, it is the size that the file states.
    mode: the mode of the stored pixels as Pillow names it, such as RGB or L.
    bit_depth: the number of bits per channel.
    frames: the number of frames or pictures in the file.
    orientation: the EXIF orientation, 1 to 8. It is 1 if the file has no valid orientation.
    """

    format: str | None = None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    bit_depth: int | None = None
    frames: int | None = None
    orientation: int | None = None


class Fault(Exception):  # noqa: N818 (a Fault is a result about the data, not a program error)
    """Raised if an image is refused. Says why the image is refused.

    code: a fixed name of the reason, such as `truncated`. Tables contain the code.
    text: a description of the reason for people.
    facts: the facts about the image that are known.
    """

    def __init__(self, code: str, text: str, facts: Facts | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.facts = facts or Facts()
