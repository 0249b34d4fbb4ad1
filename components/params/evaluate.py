"""Section `evaluate`: what is measured on the test split."""

from pydantic import Field

from components.params.section import Confidence, Count, Resamples, Section


class Evaluate(Section):
    """What is measured on the test split."""

    confidence: Confidence = Field(description="confidence level of all intervals")
    resamples: Resamples = Field(description="number of bootstrap resamples")
    mistakes: Count = Field(description="how many of the most confident mistakes the report shows")
