"""Section `prepare`: pixels as the network sees them."""

from typing import Literal

from pydantic import Field

from components.params.section import Section, Side


class Prepare(Section):
    """Pixels as the network sees them."""

    size: Side = Field(description="side of the square images, in pixels")
    resize: Literal["squash", "crop", "pad"]
