"""Section `evaluate`: how the classifier is measured on the split test."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from components.params.section import Confidence, Name, Resamples, Section, each_once

Corruption = Literal[
    "gaussian_noise",
    "shot_noise",
    "defocus_blur",
    "motion_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
]


class Corruptions(Section):
    """Corrupted copies of test images, on which the accuracy is measured, too."""

    kinds: Annotated[tuple[Corruption, ...], AfterValidator(each_once)] = Field(
        description="kinds of corruption; each is tried in three severities; empty: none is tried"
    )
    images: Annotated[int, Field(ge=1, le=10_000)] = Field(
        description="maximum number of test images that are corrupted; there are kinds * 3 * "
        "images predictions"
    )


class Evaluate(Section):
    """How the classifier is measured on the split test."""

    confidence: Confidence = Field(
        description="confidence level of the intervals of all scores, such as 0.95"
    )
    resamples: Resamples = Field(
        description="number of bootstrap resamples from which the intervals of macro scores, F1, "
        "ROC AUC and the expected cost are computed"
    )
    mistakes: Annotated[int, Field(ge=0, le=500)] = Field(
        description="maximum number of wrongly classified images in the report; the images "
        "with the highest probability of the wrong class are shown"
    )
    explain: Annotated[int, Field(ge=0, le=40)] = Field(
        description="maximum number of mistakes in each part of the report (the surest ones, those "
        "of the weakest class, those of the most confused classes) that are shown with a Grad-CAM "
        "map and similar training images; 0: no maps, and no training image is read"
    )
    top_k: Annotated[int, Field(ge=2, le=1000)] = Field(
        description="the top-k accuracy is the share of images whose label is among this number of "
        "most probable classes; it is left out if there are not more classes than this"
    )
    slices: Annotated[tuple[Name, ...], Field(max_length=10), AfterValidator(each_once)] = Field(
        description="columns of your table of images, such as camera; the accuracy is also "
        "measured for the images of each of their values"
    )
    corruptions: Corruptions
