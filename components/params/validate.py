"""Section `validate`: expectations on the manifest, and what happens if one fails."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.params.model import Model, Weights
from components.params.section import Positive, Section, Share, Side, require

OnFail = Literal["quarantine", "stop", "warn"]
TableOnFail = Literal["stop", "warn"]


class RowRule(Section):
    """An expectation on rows. The rows that fail can be quarantined."""

    on_fail: OnFail


class TableRule(Section):
    """An expectation on the whole table. It passes or fails as a whole and quarantines no rows."""

    on_fail: TableOnFail


class Format(RowRule):
    """Allowed formats, by the content of the file and not by its extension."""

    allowed: tuple[Literal["jpeg", "png", "webp", "bmp", "npy"], ...] = Field(min_length=1)


class Size(RowRule):
    """Bounds in pixels: min_px is for the shorter side, max_px is for the longer side."""

    min_px: Positive
    max_px: Positive

    @model_validator(mode="after")
    def _check_order(self) -> "Size":
        return require(self, self.min_px <= self.max_px, "min_px must not exceed max_px")


class LabelKnown(RowRule):
    """Labels that may occur."""

    labels: Literal["any"] | tuple[str, ...] = Field(description="`any`, or the list of labels")


class ImagesPerClass(RowRule):
    """Minimum number of images of a class, in which quarantined images do not count.

    All images of a smaller class can be quarantined.
    """

    min: Positive


class FaultShare(TableRule):
    """Maximum share of rows with a fault. Rows with a fault are always quarantined."""

    max: Share


class DuplicateShare(RowRule):
    """Maximum share of exact copies. All copies but the first can be quarantined."""

    max: Share


class LabelSlips(TableRule):
    """Labels that differ only in case or blanks, such as `Glass` and `glass `."""


class Dark(RowRule):
    """Images in which nearly every pixel is dark."""

    min_p99: Share = Field(description="at least 1 % of the pixels must reach this brightness")


class Bright(RowRule):
    """Images in which nearly every pixel is bright."""

    max_p1: Share = Field(description="at least 1 % of the pixels must not exceed this brightness")


class Blurry(RowRule):
    """Images without an edge in focus."""

    min_sharpness: Annotated[float, Field(ge=0)] = Field(
        description="minimum strength of the strongest 1 % of edges / contrast; see images/facts.py"
    )


class LowInformation(RowRule):
    """Images with few grey levels."""

    min_entropy: Annotated[float, Field(ge=0, le=8)] = Field(
        description="minimum, in bits per pixel"
    )


class Uniform(RowRule):
    """Images of nearly one colour."""

    min_contrast: Share = Field(description="minimum standard deviation of the luma")


class OddAspect(RowRule):
    """Long, narrow images."""

    max_ratio: Annotated[float, Field(ge=1)] = Field(
        description="maximum of the longer side divided by the shorter side"
    )


class OddSize(RowRule):
    """Images much larger or smaller than the others."""

    max_factor: Annotated[float, Field(ge=1)] = Field(
        description="maximum of size / median and median / size; size: square root of the area"
    )


class Border(RowRule):
    """Images with a frame of one colour, such as black bars."""

    max_share: Share = Field(description="maximum share of the area that is frame")


class NearDuplicates(RowRule):
    """Images that are nearly equal. All images but one of a set can be quarantined."""

    min_similarity: Share = Field(
        description="two images of this similarity or more are near copies"
    )
    turned: bool = Field(description="true: turned and mirrored copies also count")


class Shortcuts(TableRule):
    """Labels that can be predicted without the picture, from facts of the file such as its size."""

    max_auc: Annotated[float, Field(ge=0.5, le=1)] = Field(
        description="maximum area under the ROC curve of such a prediction, by cross-validation"
    )


class LabelErrors(Section):
    """Labels that differ from the prediction of a classifier on frozen features.

    Such labels are listed in the report and never quarantined.
    """

    backbone: str = Field(description="`none`, or a Keras application such as mobilenet_v2")
    width: Annotated[float, Field(gt=0, le=4)] = Field(description="multiplier on channel counts")
    weights: Weights = Field(
        description="imagenet, data/weights/NAME.keras, or models:/NAME/3#sha256=…"
    )
    size: Side = Field(description="side of the square images, in pixels")

    @model_validator(mode="after")
    def _check_weights(self) -> "LabelErrors":
        rule = "weights must not be none: features of random weights show no label error"
        return require(self, self.backbone == "none" or self.weights != "none", rule)

    def model(self) -> Model:
        """Return the backbone and its weights in the form of the section `model`."""
        return Model(backbone=self.backbone, width=self.width, weights=self.weights, dropout=0.0)


class Validate(Section):
    """Expectations on the manifest, and what happens if one fails."""

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
