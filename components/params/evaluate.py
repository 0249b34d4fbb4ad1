"""Section `evaluate`: what is measured on the test split."""

from pydantic import Field

from components.params.section import Confidence, Count, Resamples, Section


class Evaluate(Section):
    """What is measured on the test split."""

    confidence: Confidence = Field(description="of every interval")
    resamples: Resamples = Field(description="of the bootstrap")
    mistakes: Count = Field(description="most confident mistakes shown as pictures")
