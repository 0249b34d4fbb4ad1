"""Section `validate`: expectations on the manifest, and what a run does if an expectation fails.

The manifest is a table with one row for each image file. An expectation is a rule that the manifest
must meet. The docstring of a class below says what the rule is. "Facts" are numbers about how an
image looks; components/images/facts.py explains them.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from components.params.model import Model, Weights
from components.params.prepare import Prepare
from components.params.section import Positive, Section, Share, Side, require

# What a run does if an expectation fails. `quarantine`: the later stages do not use the images that
# break the rule. `stop`: the run ends. `warn`: the run continues, and the report has a warning.
OnFail = Literal["quarantine", "stop", "warn"]
TableOnFail = Literal["stop", "warn"]


class RowRule(Section):
    """An expectation on single rows. The rows that break the rule can be quarantined."""

    on_fail: OnFail


class TableRule(Section):
    """An expectation on the whole table. If it fails, no rows are quarantined."""

    on_fail: TableOnFail


class Format(RowRule):
    """Every file has an allowed format. The format is recognised by the bytes of the file."""

    allowed: tuple[Literal["jpeg", "png", "webp", "bmp", "gif", "tiff", "npy"], ...] = Field(
        min_length=1
    )


class Size(RowRule):
    """Every image has sides of an allowed length, in pixels.

    min_px: the minimum of the shorter side. max_px: the maximum of the longer side.
    """

    min_px: Positive
    max_px: Positive

    @model_validator(mode="after")
    def _check_order(self) -> "Size":
        return require(self, self.min_px <= self.max_px, "min_px must not exceed max_px")


class LabelKnown(RowRule):
    """Every label is one of the allowed labels."""

    labels: Literal["any"] | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="`any`, or the list of labels"
    )


class ImagesPerClass(RowRule):
    """Every class has at least `min` images. Quarantined images are not counted.

    If a class has fewer images, all its images can be quarantined.
    """

    min: Positive


class FaultShare(TableRule):
    """The share of rows with a fault is at most `max`.

    A fault is the reason why a file cannot be used. Rows with a fault are always quarantined.
    """

    max: Share


class DuplicateShare(RowRule):
    """The share of images with the same pixels as an image in an earlier row is at most `max`.

    The images with the same pixels as an earlier image can be quarantined.
    """

    max: Share


class LabelSlips(TableRule):
    """No two labels differ only in capital letters or spaces, as `Glass` and `glass ` do."""


class Dark(RowRule):
    """No image is too dark."""

    min_p99: Share = Field(
        description="luma (brightness), 0 to 1; an image is too dark if at least 99 % of its "
        "pixels are darker than this luma"
    )


class Bright(RowRule):
    """No image is too bright."""

    max_p1: Share = Field(
        description="luma (brightness), 0 to 1; an image is too bright if more than 99 % of its "
        "pixels are brighter than this luma"
    )


class Blurry(RowRule):
    """Every image has sharp edges. An image without sharp edges is blurred."""

    min_sharpness: Annotated[float, Field(ge=0)] = Field(
        description="minimum of the fact `sharpness`: the strength of the strongest 1 % of edges, "
        "divided by the range of the luma (brightness); see components/images/facts.py"
    )


class LowInformation(RowRule):
    """The grey levels of every image contain enough information. One level contains none."""

    min_entropy: Annotated[float, Field(ge=0, le=8)] = Field(
        description="minimum entropy of the grey levels, in bits per pixel"
    )


class Uniform(RowRule):
    """No image has nearly the same luma in all its pixels."""

    min_contrast: Share = Field(
        description="minimum standard deviation of the luma (brightness); the luma is from 0 to 1"
    )


class OddAspect(RowRule):
    """The longer side of an image is not much longer than the shorter side."""

    max_ratio: Annotated[float, Field(ge=1)] = Field(
        description="maximum ratio of the longer side to the shorter side"
    )


class OddSize(RowRule):
    """No image is much larger or much smaller than the median image."""

    max_factor: Annotated[float, Field(ge=1)] = Field(
        description="maximum factor between the size of an image and the median size of all "
        "images; the size is the square root of the area"
    )


class Border(RowRule):
    """No image has a large frame of one colour, such as black bars."""

    max_share: Share = Field(description="maximum share of the area that the frame covers")


class NearDuplicates(RowRule):
    """No two images are nearly equal.

    If several images are nearly equal, all of them except the first can be quarantined.
    """

    min_similarity: Share = Field(
        description="two images are near copies if their similarity has at least this value"
    )
    turned: bool = Field(description="true: rotated and mirrored copies are also near copies")


class Shortcuts(TableRule):
    """No label can be predicted well without the pixels, from properties of the file alone.

    The properties are the size of the image, its aspect ratio, the number of bytes, the format and
    the mode. A network could learn to recognise these properties instead of what the images show.
    """

    max_auc: Annotated[float, Field(ge=0.5, le=1)] = Field(
        description="maximum area under the ROC curve of a prediction of a label from properties "
        "of the file, measured by cross-validation"
    )


class LabelErrorsModel(Model):
    """The model that computes the features for the search for wrong labels."""

    place: ClassVar[str] = "validate.label_errors"
    size_key: ClassVar[str] = "validate.label_errors.size"
    without_weights: ClassVar[str] = "backbone: none"


class LabelErrors(Section):
    """The search for labels that may be wrong.

    A label is suspected if a classifier finds another label more probable. The inputs of this
    classifier are features. A backbone, which is a pretrained network without its last layer,
    computes the features from the images. The report lists the suspected labels. No image is
    quarantined because its label is suspected.
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
    size: Literal["prepare"] | Side = Field(
        description="`prepare`: the images are resized as the section `prepare` says; a number: "
        "the side of the square images in pixels; their aspect ratio changes"
    )

    @model_validator(mode="after")
    def _check_weights(self) -> "LabelErrors":
        rule = (
            "weights must not be none: a backbone with random weights cannot find label errors, so "
            "write imagenet, a file or a version, or `backbone: none` to check no labels"
        )
        return require(self, self.backbone == "none" or self.weights != "none", rule)

    def images(self, prepare: Prepare) -> Prepare:
        """Return how the images are resized for the backbone. prepare: the section `prepare`."""
        return prepare if self.size == "prepare" else Prepare(size=self.size, resize="squash")

    def model(self) -> LabelErrorsModel:
        """Return a section `model` with the backbone, width and weights of this section."""
        return LabelErrorsModel(
            backbone=self.backbone,
            width=self.width,
            weights=self.weights,
            dropout=0.0,
            logit_adjustment="none",
        )


class Validate(Section):
    """Expectations on the manifest, and what a run does if an expectation fails.

    Expectations without a class of their own: `decodes`: every file can be decoded. `label_filled`:
    every image has a label. `label_conflicts`: images with the same pixels have the same label.
    `near_conflicts`: images that are nearly equal have the same label.

    `label_errors` is no expectation, but the settings of the search for wrong labels.
    """

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
