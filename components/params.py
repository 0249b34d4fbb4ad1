"""params.yaml → frozen, bounded types without defaults: every value stands in the file, once."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from components.errors import UserError

S = TypeVar("S", bound="_Section")


def _not_one(folds: int) -> int:
    if folds == 1:
        raise ValueError("one fold is no split; 0 asks for none, 2 and more for so many")
    return folds


Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Byte = Annotated[int, Field(ge=0, le=255)]
Folds = Annotated[int, Field(ge=0, le=100), AfterValidator(_not_one)]
Name = Annotated[str, Field(min_length=1)]
OnFail = Literal["quarantine", "stop", "warn"]
TableOnFail = Literal["stop", "warn"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Columns(_Section):
    """Names of a table's columns; `group` and `split` may be absent from the table."""

    path: Name
    label: Name
    group: Name
    split: Name


class Source(_Section):
    """In which form the images lie in data/raw."""

    kind: Literal["auto", "class_folders", "split_folders", "table", "arrays"]
    columns: Columns
    group: Literal["none", "subfolder"] = Field(
        description="whether the folders inside of a class folder are groups"
    )


class Decode(_Section):
    """How the bytes of a file become RGB pixels, and what is refused."""

    max_bytes: Positive = Field(description="bytes above which a file is not read")
    max_pixels: Positive = Field(description="pixels above which an image is not decoded")
    sixteen_bit: Literal["high_byte", "refuse"] = Field(description="16 → 8 bits: value >> 8")
    cmyk: Literal["convert", "refuse"]
    grey: Literal["repeat", "refuse"] = Field(description="one channel → three equal ones")
    palette: Literal["expand", "refuse"]
    alpha: Literal["blend", "drop", "refuse"] = Field(
        description="blend: over `background`, drop: the colours under it; of a palette too"
    )
    background: tuple[Byte, Byte, Byte] = Field(description="RGB laid behind transparent pixels")
    icc_profile: Literal["ignore", "srgb", "refuse"] = Field(
        description="srgb: colours are converted as an embedded profile says; refuse: if not sRGB"
    )


class Ingest(_Section):
    """How files become manifest rows and pixels."""

    source: Source
    decode: Decode


class RowRule(_Section):
    """An expectation on single rows, which can be taken out."""

    on_fail: OnFail


class TableRule(_Section):
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
        return _require(self, self.min_px <= self.max_px, "min_px must not exceed max_px")


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


class LabelErrors(_Section):
    """Labels that a classifier on frozen features disagrees with; listed, never taken out."""

    backbone: str = Field(description="`none`, or a Keras application such as mobilenet_v2")
    width: Annotated[float, Field(gt=0, le=4)] = Field(description="multiplier on channel counts")
    weights: str = Field(description="imagenet or a .keras file")
    size: Annotated[int, Field(ge=8, le=1024)] = Field(description="side of the square, pixels")


class Validate(_Section):
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


class Split(_Section):
    """Shares of images held out; the rest trains."""

    val: Annotated[float, Field(gt=0, lt=1)]
    test: Annotated[float, Field(gt=0, lt=1)]
    given: Literal["ignore", "stop", "set_aside"] = Field(
        description="a split that comes with the images: ignored, or kept, and what a leak does"
    )
    folds: Folds = Field(description="0, or so many folds of the images outside of test")

    @model_validator(mode="after")
    def _room_for_train(self) -> "Split":
        rule = "val + test must leave room for train"
        return _require(self, self.val + self.test < 1, rule)


class Prepare(_Section):
    """Pixels as the network sees them."""

    size: Annotated[int, Field(ge=8, le=1024)] = Field(description="side of the square, pixels")
    resize: Literal["squash", "crop", "pad"]


class Balance(_Section):
    """What is done about unequal class counts, on the training split alone."""

    strategy: Literal["none", "class_weight", "oversample", "undersample"]


class Model(_Section):
    """The classifier: backbone, its weights, and the head on top."""

    backbone: str = Field(description="`compact` or a Keras application, such as mobilenet_v2")
    width: Annotated[float, Field(gt=0, le=4)] = Field(description="multiplier on channel counts")
    weights: str = Field(description="imagenet, none, a .keras file, or models:/<name>@<alias>")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(description="before the logits")


class Augmentation(_Section):
    """Random changes to training images; 0 turns one off."""

    horizontal_flip: Share = Field(description="probability")
    vertical_flip: Share = Field(description="probability")
    rotate: Annotated[float, Field(ge=0, le=180)] = Field(description="degrees to either side")
    shift: Annotated[float, Field(ge=0, lt=1)] = Field(description="share of the side")
    scale: Annotated[float, Field(ge=0, lt=1)] = Field(description="share to either side of 1")
    brightness: Annotated[float, Field(ge=0, lt=1)] = Field(description="share to either side of 1")
    contrast: Annotated[float, Field(ge=0, lt=1)] = Field(description="share to either side of 1")
    erase: Share = Field(description="probability of one erased rectangle")


class Head(_Section):
    """First phase: the head alone, on features of the frozen backbone; skipped without weights."""

    epochs: Count
    learning_rate: Rate


class FineTune(_Section):
    """Second phase: the upper share of the backbone together with the head."""

    epochs: Count
    learning_rate: Rate
    unfreeze: Share = Field(description="share of backbone layers, counted from the top")
    warmup: Share = Field(description="share of the steps in which the rate rises from 0")


class EarlyStopping(_Section):
    """When to stop; the best epoch is always the one kept."""

    monitor: Literal["val_loss", "val_accuracy", "val_balanced_accuracy"]
    patience: Positive = Field(description="epochs without improvement after which to stop")


class Train(_Section):
    """How the classifier is trained."""

    batch_size: Positive
    loss: Literal["cross_entropy", "focal", "logit_adjusted"]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    focal_gamma: Annotated[float, Field(ge=0, le=10)] = Field(description="for loss: focal")
    logit_adjustment: Annotated[float, Field(ge=0, le=10)] = Field(
        description="tau, for loss: logit_adjusted"
    )
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    head: Head
    finetune: FineTune
    early_stopping: EarlyStopping
    augmentation: Augmentation


class Hyperparameters(_Section):
    """What a search may change: the two sections that only `search` and `train` read."""

    model: Model
    train: Train

    @model_validator(mode="after")
    def _something_trains(self) -> "Hyperparameters":
        fresh, head = self.model.weights == "none", self.train.head.epochs
        rule = "nothing would be trained: raise train.finetune.epochs. Received: 0"
        return _require(self, bool(self.train.finetune.epochs or (head and not fresh)), rule)

    def overridden(self, overrides: Mapping[str, object]) -> "Hyperparameters":
        """Return them with dotted names set anew, such as {"train.head.epochs": 3}.

        Raises UserError where a name is unknown or a value breaks a rule.
        """
        tree = self.model_dump()
        for name, value in overrides.items():
            *path, key = name.split(".")
            node: Any = tree
            for part in path:
                node = node.get(part) if isinstance(node, dict) else None
            if not isinstance(node, dict) or isinstance(node.get(key, {}), dict):
                raise UserError(
                    "only parameters of model and train can be searched, since the other stages "
                    f"have run by then. Received: {name}"
                )
            node[key] = value
        try:
            return Hyperparameters.model_validate(tree)
        except ValidationError as error:
            raise UserError("; ".join(_sentences(error))) from None

    def value(self, name: str) -> Any:
        """Return the value of a dotted name, such as train.head.epochs."""
        node: Any = self
        for part in name.split("."):
            node = getattr(node, part)
        return node


class Choices(_Section):
    """A finite set to choose from."""

    choices: tuple[str | int | float | bool, ...] = Field(min_length=1)


class Range(_Section):
    """Every number from low to high, evenly or evenly in the logarithm."""

    low: int | float
    high: int | float
    log: bool = Field(description="sample evenly in the logarithm")

    @model_validator(mode="after")
    def _possible(self) -> "Range":
        _require(self, self.low < self.high, "low must be below high")
        return _require(self, not self.log or self.low > 0, "a log range must start above 0")


def _kind(values: Any) -> str:
    """Tell by its keys which of the two is meant, so that an error speaks of that one alone."""
    given = values if isinstance(values, dict) else getattr(values, "__dict__", {})
    return "range" if "low" in given or "high" in given else "choices"


SpaceValues = Annotated[
    Annotated[Choices, Tag("choices")] | Annotated[Range, Tag("range")], Discriminator(_kind)
]


class Search(_Section):
    """The Optuna study that looks for hyperparameters before training."""

    trials: Count = Field(description="0 leaves every value as written in this file")
    maximize: Literal["val_accuracy", "val_balanced_accuracy"]
    epochs: Positive = Field(description="at most so many fine-tune epochs in a trial")
    startup_trials: Positive = Field(description="random ones, before TPE guides and prunes")
    space: dict[str, SpaceValues] = Field(description="dotted parameter name → what to try")


class Evaluate(_Section):
    """What is measured on the test split."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(description="of every interval")
    resamples: Annotated[int, Field(ge=100, le=100_000)] = Field(description="of the bootstrap")
    mistakes: Count = Field(description="most confident mistakes shown as pictures")


class Floors(_Section):
    """Values on the test split below which no model is promoted."""

    accuracy: Share
    balanced_accuracy: Share
    recall: Share = Field(description="of every single class")


class Register(_Section):
    """How a new version is judged against the champion."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    promote: Literal["manual", "auto"]
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(description="of the comparison")
    resamples: Annotated[int, Field(ge=100, le=100_000)] = Field(description="of the bootstrap")
    max_recall_drop: Share = Field(description="of any class, against the champion")
    floors: Floors


class Params(_Section):
    """The whole of params.yaml, a section a stage plus `seed` and `model`."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    ingest: Ingest
    validate_: Validate = Field(alias="validate")
    split: Split
    prepare: Prepare
    balance: Balance
    model: Model
    train: Train
    search: Search
    evaluate: Evaluate
    register_: Register = Field(alias="register")

    @model_validator(mode="after")
    def _searchable(self) -> "Params":
        try:
            written = Hyperparameters(model=self.model, train=self.train)
        except ValidationError as error:
            raise ValueError("; ".join(_sentences(error))) from None
        for name, values in self.search.space.items():
            for value in _extremes(values):
                try:
                    written.overridden({name: value})
                except UserError as error:
                    raise ValueError(f"search.space: {error}") from None
        return self

    def models_to_try(self) -> list[Model]:
        """Return the model as written, and those a search may choose, dropout left aside.

        Of a range both ends stand for all that lies between.
        """
        space = self.search.space if self.search.trials else {}
        names = [name for name in space if name.startswith("model.") and name != "model.dropout"]
        written = Hyperparameters(model=self.model, train=self.train)
        searched = [
            written.overridden(dict(zip(names, values, strict=True))).model
            for values in product(*(_extremes(space[name]) for name in names))
        ]
        return [self.model, *searched] if names else [self.model]

    def section(self, name: str) -> Any:
        """Return the section called `name` in params.yaml."""
        return getattr(self, f"{name}_" if name in ("validate", "register") else name)


def read_params(path: Path) -> Params:
    """Read and check params.yaml.

    Raises UserError naming the key, the rule and what was received, before any work is done.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"no params file; run from the repository's root. Received: {path}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{path} is not valid YAML: {problem}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path} must hold sections such as `train:`. Received: {tree!r}")
    try:
        return Params.model_validate(_with_tuples(tree))
    except ValidationError as error:
        raise UserError(f"{path}: " + "; ".join(_sentences(error))) from None


def _sentences(error: ValidationError) -> list[str]:
    """Say each broken rule once: key, rule, what was received."""
    sentences: dict[str, str] = {}
    for item in error.errors():
        keys = [str(key) for key in item["loc"]]
        if keys[:2] == ["search", "space"]:
            del keys[3:4]  # which of the two kinds, which stands nowhere in the file
        elif "labels" in keys:
            del keys[keys.index("labels") + 1 :]  # which member of a union
        key = ".".join(keys) or "params"
        if item["type"] == "extra_forbidden":
            text = f"{key} is not a known key. Received: {item['input']!r}"
        elif item["type"] == "missing":
            text = f"{key} is missing; every value must be written out"
        elif item["type"] == "value_error" and not keys:
            text = str(item["ctx"]["error"])
        else:
            rule = item["msg"].removeprefix("Value error, ").removeprefix("Input should ")
            received = "" if "Received:" in rule else f". Received: {item['input']!r}"
            text = (
                f"{key} should {rule}{received}"
                if rule[:3] == "be "
                else f"{key}: {rule}{received}"
            )
        sentences.setdefault(key, text)
    return list(sentences.values())


def _with_tuples(node: Any) -> Any:
    """YAML has lists, frozen params have tuples."""
    if isinstance(node, dict):
        return {str(key): _with_tuples(value) for key, value in node.items()}
    return tuple(map(_with_tuples, node)) if isinstance(node, list) else node


def _extremes(values: Choices | Range) -> tuple[object, ...]:
    """Values that stand for all: if these keep a parameter's rules, so does what lies between."""
    return values.choices if isinstance(values, Choices) else (values.low, values.high)


def _require(section: S, holds: bool, rule: str) -> S:
    if not holds:
        raise ValueError(rule)
    return section
