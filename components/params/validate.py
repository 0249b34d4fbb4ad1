"""Section `validate`: expectations on the manifest, and what a failed one does."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.params.model import Model, Weights
from components.params.section import Positive, Section, Share, Side, require

OnFail = Literal["quarantine", "stop", "warn"]
TableOnFail = Literal["stop", "warn"]


class RowRule(Section):
    """An expectation on single rows, which can be taken out."""

    on_fail: OnFail


class TableRule(Section):
    """An expectation on the whole table, where no single row is to blame."""

    on_fail: TableOnFail


class Format(RowRule):
    """Formats by content, whatever the extension says."""

    allowed: tuple[Literal["jpeg", "png", "webp", "bmp", "npy"], ...] = Field(min_length=1)


class Size(RowRule):
    """Bounds on the shorter and the longer side, in pixels."""

    min_px: Positive
    max_px: Positive

    @model_validator(mode="after")
    def _ordered(self) -> "Size":
        return require(self, self.min_px <= self.max_px, "min_px must not exceed max_px")


class LabelKnown(RowRule):
    """Labels that may occur."""

    labels: Literal["any"] | tuple[str, ...] = Field(description="`any`, or the list of labels")


class ImagesPerClass(RowRule):
    """Images that every class must have, counted after quarantine; takes out whole classes."""

    min: Positive


class FaultShare(TableRule):
    """Share of rows, from 0 to 1, that may have a fault; those are out already."""

    max: Share


class DuplicateShare(RowRule):
    """Share of rows, from 0 to 1, that may repeat earlier pixels; takes out all but the first."""

    max: Share


class LabelSlips(TableRule):
    """Labels that differ from another in case or blanks only, such as `Glass` and `glass `."""


class Dark(RowRule):
    """Images of which nearly every pixel is dark."""

    min_p99: Share = Field(description="99 % of an image's pixels may not all be darker than this")


class Bright(RowRule):
    """Images of which nearly every pixel is bright."""

    max_p1: Share = Field(description="99 % of an image's pixels may not all be brighter than this")


class Blurry(RowRule):
    """Images without an edge in focus."""

    min_sharpness: Annotated[float, Field(ge=0)] = Field(
        description="of the strongest 1 % of edges, against the contrast; see images/facts.py"
    )


class LowInformation(RowRule):
    """Images of few grey levels."""

    min_entropy: Annotated[float, Field(ge=0, le=8)] = Field(description="bits a pixel")


class Uniform(RowRule):
    """Images of nearly one colour."""

    min_contrast: Share = Field(description="standard deviation of the luma, on the scale 0–1")


class OddAspect(RowRule):
    """Long strips."""

    max_ratio: Annotated[float, Field(ge=1)] = Field(description="longer side / shorter side")


class OddSize(RowRule):
    """Images much larger or smaller than the others."""

    max_factor: Annotated[float, Field(ge=1)] = Field(
        description="of the median image's side, the root of its area, upwards and downwards"
    )


class Border(RowRule):
    """Images with a frame of one colour, as of a letterbox."""

    max_share: Share = Field(description="of the area")


class NearDuplicates(RowRule):
    """Images that are nearly the same picture; takes out all but one of each set."""

    min_similarity: Share = Field(description="from which on two images count as near copies")
    turned: bool = Field(description="whether turned and mirrored copies count, too")


class Shortcuts(TableRule):
    """Labels that can be told from facts of the file, such as its size, instead of its content."""

    max_auc: Annotated[float, Field(ge=0.5, le=1)] = Field(
        description="area under the ROC curve of a label predicted from such facts, cross-validated"
    )


class LabelErrors(Section):
    """Labels that a classifier on frozen features disagrees with; listed, never taken out."""

    backbone: str = Field(description="`none`, or a Keras application such as mobilenet_v2")
    width: Annotated[float, Field(gt=0, le=4)] = Field(description="multiplier on channel counts")
    weights: Weights = Field(
        description="imagenet, data/weights/NAME.keras, or models:/NAME/3#sha256=…"
    )
    size: Side = Field(description="side of the square, pixels")

    @model_validator(mode="after")
    def _learned(self) -> "LabelErrors":
        rule = "weights must not be none: features of random weights show no label error"
        return require(self, self.backbone == "none" or self.weights != "none", rule)

    def model(self) -> Model:
        """Return the section `model` of a classifier on these features."""
        return Model(backbone=self.backbone, width=self.width, weights=self.weights, dropout=0.0)


class Validate(Section):
    """Expectations on the manifest, and what a failed one does."""

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
