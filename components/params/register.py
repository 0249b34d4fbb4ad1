"""Section `register`: the rules that decide whether a new version becomes the champion."""

from typing import Annotated, Literal

from pydantic import Field

from components.params.section import Confidence, Resamples, Section, Share


class Floors(Section):
    """Minimum scores on the split test. A version with a lower score is not promoted."""

    accuracy: Share
    balanced_accuracy: Share
    recall: Share = Field(description="minimum recall of every class")


class Register(Section):
    """The name of the registered model, and the rules for a new version to become the champion."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    promote: Literal["manual", "auto"]
    confidence: Confidence = Field(
        description="confidence level of the intervals of scores, and of the intervals of "
        "differences from the scores of the champion"
    )
    resamples: Resamples = Field(description="number of bootstrap resamples")
    max_recall_drop: Share = Field(
        description="the recall of a class may be lower than the champion's recall of this class "
        "by at most this number"
    )
    floors: Floors
