"""Section `register`: how a new version is compared with the champion."""

from typing import Annotated, Literal

from pydantic import Field

from components.params.section import Confidence, Resamples, Section, Share


class Floors(Section):
    """Minimum values on the test split. A version below one of them is not promoted."""

    accuracy: Share
    balanced_accuracy: Share
    recall: Share = Field(description="minimum recall of every class")


class Register(Section):
    """How a new version is compared with the champion."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    promote: Literal["manual", "auto"]
    confidence: Confidence = Field(description="confidence level of intervals of differences")
    resamples: Resamples = Field(description="number of bootstrap resamples")
    max_recall_drop: Share = Field(
        description="maximum drop of the recall of a class, compared with the champion"
    )
    floors: Floors
