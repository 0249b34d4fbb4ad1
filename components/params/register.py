"""Section `register`: how a new version is judged against the champion."""

from typing import Annotated, Literal

from pydantic import Field

from components.params.section import Confidence, Resamples, Section, Share


class Floors(Section):
    """Values on the test split below which no model is promoted."""

    accuracy: Share
    balanced_accuracy: Share
    recall: Share = Field(description="of every single class")


class Register(Section):
    """How a new version is judged against the champion."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    promote: Literal["manual", "auto"]
    confidence: Confidence = Field(description="of the comparison")
    resamples: Resamples = Field(description="of the bootstrap")
    max_recall_drop: Share = Field(description="of any class, against the champion")
    floors: Floors
