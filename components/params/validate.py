"""Section `validate`: expectations on the manifest, and what a run does if an expectation fails."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.params.model import Model, Weights
from components.params.section import Positive, Section, Share, Side, require

OnFail = Literal["quarantine", "stop", "warn"]
TableOnFail = Literal["stop", "warn"]


class RowRule(Section):
    """An expectation on single rows. The rows that do not meet it can be quarantined."""

    on_fail: OnFail


class TableRule(Section):
    """An expectation on the whole table. If it fails, no rows are quarantined."""

    on_fail: TableOnFail


class Format(RowRule):
    """The allowed formats. The format is read from the content of a file, not from its name."""

    allowed: tuple[Literal["jpeg", "png", "webp", "bmp", "npy"], ...] = Field(min_length=1)


class Size(RowRule):
    """The minimum of the shorter side and the maximum of the longer side, in pixels."""

    min_px: Positive
    max_px: Positive

    @model_validator(mode="after")
    def _check_order(self) -> "Size":
        return require(self, self.min_px <= self.max_px, "min_px must not exceed max_px")


class LabelKnown(RowRule):
    """The labels that are allowed."""

    labels: Literal["any"] | tuple[str, ...] = Field(description="`any`, or the list of labels")


class ImagesPerClass(RowRule):
    """The minimum number of images of a class. Quarantined images are not counted.

    If a class has fewer images, all its images can be quarantined.
    """

    min: Positive


class FaultShare(TableRule):
    """The maximum share of rows with a fault. Rows with a fault are always quarantined."""

    max: Share


class DuplicateShare(RowRule):
    """The maximum share of rows that have the same pixels as an earlier row.

    These rows can be quarantined.
    """

    max: Share


class LabelSlips(TableRule):
    """Labels that differ only in case or blanks, such as `Glass` and `glass `."""


class Dark(RowRule):
    """Images in which at least 99 % of the pixels are dark."""

    min_p99: Share = Field(
        description="luma, 0 to 1; an image is too dark if at least 99 % of its pixels are darker "
        "than this luma"
    )


class Bright(RowRule):
    """Images in which more than 99 % of the pixels are bright."""

    max_p1: Share = Field(
        description="luma, 0 to 1; an image is too bright if more than 99 % of its pixels are "
        "brighter than this luma"
    )


class Blurry(RowRule):
    """Images without sharp edges."""

    min_sharpness: Annotated[float, Field(ge=0)] = Field(
        description="minimum of the fact `sharpness`: the strength of the strongest 1 % of edges, "
        "divided by the range of the luma; see components/images/facts.py"
    )


class LowInformation(RowRule):
    """Images whose grey levels contain little information, for example only two levels."""

    min_entropy: Annotated[float, Field(ge=0, le=8)] = Field(
        description="minimum entropy of the grey levels, in bits per pixel"
    )


class Uniform(RowRule):
    """Images in which all pixels have nearly the same luma."""

    min_contrast: Share = Field(
        description="minimum standard deviation of the luma; the luma is from 0 to 1"
    )


class OddAspect(RowRule):
    """Images whose longer side is many times as long as the shorter side."""

    max_ratio: Annotated[float, Field(ge=1)] = Field(
        description="maximum ratio of the longer side to the shorter side"
    )


class OddSize(RowRule):
    """Images that are much larger or much smaller than the median image."""

    max_factor: Annotated[float, Field(ge=1)] = Field(
        description="maximum factor between the size of an image and the median size; the size is "
        "the square root of the area"
    )


class Border(RowRule):
    """Images with a frame of one colour, such as black bars."""

    max_share: Share = Field(description="maximum share of the area that the frame covers")


class NearDuplicates(RowRule):
    """Images that are nearly equal.

    In a set of nearly equal images, all images except the first can be quarantined.
    """

    min_similarity: Share = Field(
        description="two images are near copies if their similarity has at least this value"
    )
    turned: bool = Field(description="true: rotated and mirrored copies are also near copies")


class Shortcuts(TableRule):
    """Labels that can be predicted from facts of the file, such as its size.

    The pixels are not used for this prediction.
    """

    max_auc: Annotated[float, Field(ge=0.5, le=1)] = Field(
        description="maximum area under the ROC curve of such a prediction, measured by "
        "cross-validation"
    )


class LabelErrors(Section):
    """Labels that are probably wrong, because a classifier disagrees with them.

    The inputs of this classifier are the features that a frozen backbone computes from the images.
    The report lists the suspected labels. Their images are not quarantined for this reason.
    """

    backbone: str = Field(
        description="`none` (labels are not checked), or a Keras application such as mobilenet_v2"
    )
    width: Annotated[float, Field(gt=0, le=4)] = Field(
        description="the number of channels in a layer of the backbone is multiplied by this factor"
    )
    weights: Weights = Field(
        description="imagenet: weights trained on ImageNet; data/weights/NAME.keras: the weights "
        "in this file; models:/NAME/3#sha256=…: the weights of version 3 of a registered model"
    )
    size: Side = Field(description="side of the square images, in pixels")

    @model_validator(mode="after")
    def _check_weights(self) -> "LabelErrors":
        rule = "weights must not be none: none means random weights, which show no label errors"
        return require(self, self.backbone == "none" or self.weights != "none", rule)

    def model(self) -> Model:
        """Return a section `model` with the backbone, width and weights of this section."""
        return Model(backbone=self.backbone, width=self.width, weights=self.weights, dropout=0.0)


class Validate(Section):
    """Expectations on the manifest, and what a run does if an expectation fails."""

    decodes: RowRule
    format: Format
    size: Size
    label_filled: RowRule
    label_known: LabelKnown
    label_slips: LabelSlips
    dark: Dark
    bright: Bright
    blurry: Blurry
    low_information: LowInformation
    uniform: Uniform
    odd_aspect: OddAspect
    odd_size: OddSize
    border: Border
    images_per_class: ImagesPerClass
    fault_share: FaultShare
    duplicate_share: DuplicateShare
    label_conflicts: RowRule
    near_duplicates: NearDuplicates
    near_conflicts: RowRule
    shortcuts: Shortcuts
    label_errors: LabelErrors
