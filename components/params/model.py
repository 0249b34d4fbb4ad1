"""Section `model`: the classifier."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from components.params.section import Positive, Section

WEIGHTS_FOLDER = "data/weights"
# The pattern for a version of a registered model, such as models:/birds/3#sha256=… The sha256 is
# required, but the pattern also matches a version without sha256. In this case
# components/registry/weights.py raises an error whose message contains the correct sha256.
VERSION = re.compile(
    r"models:/(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)/(?P<number>[1-9]\d*)"
    r"(#sha256=(?P<sha256>[0-9a-f]{64}))?"
)
# The pattern for an alias of a registered model, such as models:/birds@champion.
ALIAS = re.compile(r"models:/[^/@]+@(?P<alias>.*)")
# The pattern for the relative POSIX path of a file. No part of the path may begin with a dot, for
# two reasons. The part `..` could lead to another folder. Hidden files are ignored by DVC.
FILE = re.compile(rf"{WEIGHTS_FOLDER}(/[^/\\.\s][^/\\\n]*)+\.keras")


def check_weights(weights: str) -> str:
    """Return `weights` unchanged if it has one of the four permitted forms.

    The permitted forms are `imagenet`, `none`, a file in the folder data/weights, and a version of
    a registered model. All other forms are refused. The reason is that another form could later
    lead to different weights, and DVC would not notice the change.
    weights: the value of `model.weights` in params.yaml.
    Raises ValueError if the form is not permitted. The text of the error is the rule. pydantic
    turns the error into a ValidationError.

    >>> check_weights("data/weights/birds.keras")
    'data/weights/birds.keras'
    """
    if weights in ("imagenet", "none") or VERSION.fullmatch(weights) or FILE.fullmatch(weights):
        return weights
    if ALIAS.fullmatch(weights):
        raise ValueError(
            "an alias can point to another version later, so write a version: `fovea retrain "
            "--from champion` writes the version of the champion; if there is no champion, write "
            "imagenet or none"
        )
    if weights.endswith(".keras"):
        raise ValueError(
            f"a file must be below {WEIGHTS_FOLDER}, so that DVC notices changes of the file: move "
            f"the file into this folder and write {WEIGHTS_FOLDER}/NAME.keras, without `./`, `//` "
            "or a name that starts with a dot"
        )
    raise ValueError(
        f"be imagenet, none, {WEIGHTS_FOLDER}/NAME.keras, or models:/NAME/3#sha256=<64 digits, 0-9 "
        "and a-f>"
    )


Weights = Annotated[str, AfterValidator(check_weights)]
Pooling = Literal["avg", "max", "avg_max", "gem"]
Views = Literal["plain", "mirrored", "five"]
Units = Annotated[Positive, Field(le=16_384)]
Penalty = Annotated[float, Field(ge=0, le=1)]
# A head for a classifier of which only the backbone is used.
UNUSED_HEAD: dict[str, Any] = {
    "pooling": "avg",
    "hidden": (),
    "batch_norm": False,
    "dropout": 0.0,
    "l1": 0.0,
    "l2": 0.0,
    "views": "plain",
    "logit_adjustment": "none",
}
# These params have no influence on whether a backbone accepts its size, width and weights.
OF_THE_HEAD = ("hidden", "batch_norm", "dropout", "l1", "l2")


class Model(Section):
    """The classifier: its backbone, the weights at the start of training, its head and its views.

    pooling: how the maps of the backbone, float32 [N, h, w, C], become features. `avg`: the mean of
    each map. `max`: its highest value. `avg_max`: both, so there are twice as many features. `gem`:
    the generalised mean, (mean of x^p)^(1/p), whose exponent p is learned (Radenović et al., 2018).

    place: the key of the section in params.yaml. size_key: the key of the side of its images.
    without_weights: what a user writes if there are no weights. Error messages contain all three.
    """

    place: ClassVar[str] = "model"
    size_key: ClassVar[str] = "prepare.size"
    without_weights: ClassVar[str] = "weights: none"

    backbone: str = Field(description="`compact` or a Keras application, such as mobilenet_v2")
    width: Annotated[float, Field(gt=0, le=4)] = Field(
        description="the number of channels in a layer of the backbone is multiplied by this factor"
    )
    weights: Weights = Field(
        description="imagenet: weights trained on ImageNet; none: random weights; "
        "data/weights/NAME.keras: the weights in this file; models:/NAME/3#sha256=…: the weights "
        "of version 3 of a registered model"
    )
    pooling: Pooling
    hidden: Annotated[tuple[Units, ...], Field(max_length=8)] = Field(
        description="the number of units of each hidden layer of the head, in the order from the "
        "features to the logits; []: no hidden layer"
    )
    batch_norm: bool = Field(description="true: batch normalisation in each hidden layer")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="rate of the dropout before each hidden layer, and before the last layer, "
        "which computes the logits"
    )
    l1: Penalty = Field(
        description="the loss of training grows by this factor times the sum of the absolute "
        "values of the kernels of the head"
    )
    l2: Penalty = Field(
        description="the loss of training grows by this factor times the sum of the squares of the "
        "kernels of the head"
    )
    views: Views = Field(
        description="the views of an image whose logits the saved model averages; plain: the image "
        "as it is; mirrored: also its mirror image; five: its four corners and its centre, enlarged"
    )
    logit_adjustment: Literal["none", "tuned"] = Field(
        description="tuned: after training, tau * log prior is subtracted from the logits, so that "
        "rare classes are predicted more often (Menon et al., 2021); tau is fitted on val"
    )

    @property
    def pretrained(self) -> bool:
        """Return whether the backbone starts with trained weights."""
        return self.weights != "none"
