"""Section `model`: the classifier."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from components.params.section import Section

WEIGHTS_FOLDER = "data/weights"
# The sha256 is optional in this pattern. If it is missing, components/registry/weights.py raises an
# error that shows the sha256 to write.
VERSION = re.compile(
    r"models:/(?P<name>[^/@#\s]+)/(?P<number>[1-9]\d*)(#sha256=(?P<sha256>[0-9a-f]{64}))?"
)
ALIAS = re.compile(r"models:/[^/@]+@(?P<alias>.*)")
# A file has a relative POSIX path in which no part begins with a dot. This excludes `..`. It also
# excludes hidden files, since DVC ignores hidden files.
FILE = re.compile(rf"{WEIGHTS_FOLDER}(/[^/\\.\s][^/\\\n]*)+\.keras")


def check_weights(weights: str) -> str:
    """Return `weights` if it has one of the four permitted forms.

    These are `imagenet`, `none`, a file below data/weights, and a version of a registered model. In
    any other form the weights could change without a change that DVC sees.
    Raises ValueError with the rule; pydantic turns this error into a ValidationError.

    >>> check_weights("data/weights/birds.keras")
    'data/weights/birds.keras'
    """
    if weights in ("imagenet", "none") or VERSION.fullmatch(weights) or FILE.fullmatch(weights):
        return weights
    if ALIAS.fullmatch(weights):
        raise ValueError(
            "an alias can point to another version later, so name the version itself: `fovea "
            "retrain --from champion` writes the version of the champion here"
        )
    if weights.endswith(".keras"):
        raise ValueError(
            f"a file must be below {WEIGHTS_FOLDER}, which DVC watches: move it there and write "
            f"{WEIGHTS_FOLDER}/NAME.keras"
        )
    raise ValueError(
        f"be imagenet, none, {WEIGHTS_FOLDER}/NAME.keras, or models:/NAME/3#sha256=<64 hex digits>"
    )


Weights = Annotated[str, AfterValidator(check_weights)]


class Model(Section):
    """The classifier: a backbone with its weights, and a head on top."""

    backbone: str = Field(description="`compact` or a Keras application, such as mobilenet_v2")
    width: Annotated[float, Field(gt=0, le=4)] = Field(description="multiplier on channel counts")
    weights: Weights = Field(
        description="imagenet, none, data/weights/NAME.keras, or models:/NAME/3#sha256=…"
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="rate of the dropout before the logits"
    )
