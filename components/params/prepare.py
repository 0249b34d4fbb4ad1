"""Section `prepare`: the size of the images for the network, and how images are resized."""

from typing import Literal

from pydantic import Field

from components.params.section import Section, Side


class Prepare(Section):
    """The size of the images for the network, and how images are resized to this size.

    resize: `squash`: the aspect ratio changes. `crop`: the longer side is cut. `pad`: black
    pixels are added at the shorter side.
    """

    size: Side = Field(description="side of the square images, in pixels")
    resize: Literal["squash", "crop", "pad"]
