"""Section `register`: how a new version is compared with the champion."""

from typing import Annotated, Literal

from pydantic import Field

from components.params.section import Confidence, Resamples, Section, Share


class Floors(Section):
    """Values on the test split below which no model is promoted."""

    accuracy: Share
    balanced_accuracy: Share
    recall: Share = Field(description="of each class")


class Register(Section):
    """How a new version is compared with the champion."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    promote: Literal["manual", "auto"]
    confidence: Confidence = Field(description="of the intervals of differences")
    resamples: Resamples = Field(description="of the bootstrap that gives the intervals")
    max_recall_drop: Share = Field(
        description="how much lower than the champion's the recall of a class may be"
    )
    floors: Floors
