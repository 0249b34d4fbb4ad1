"""Section `evaluate`: how the classifier is measured on the split test."""

from pydantic import Field

from components.params.section import Confidence, Count, Resamples, Section


class Evaluate(Section):
    """How the classifier is measured on the split test."""

    confidence: Confidence = Field(
        description="confidence level of the intervals of all scores, such as 0.95"
    )
    resamples: Resamples = Field(
        description="number of bootstrap resamples from which the intervals of macro scores, F1 "
        "and ROC AUC are computed"
    )
    mistakes: Count = Field(
        description="maximum number of wrongly classified images in the report; the images "
        "with the highest probability of the wrong class are shown"
    )
