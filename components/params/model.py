"""Section `model`: the classifier."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from components.params.section import Section

WEIGHTS_FOLDER = "data/weights"
# A version without its sha256 is refused by the registry, which knows what to write.
VERSION = re.compile(
    r"models:/(?P<name>[^/@#\s]+)/(?P<number>[1-9]\d*)(#sha256=(?P<sha256>[0-9a-f]{64}))?"
)
ALIAS = re.compile(r"models:/[^/@]+@(?P<alias>.*)")
# Relative, POSIX, and no part begins with a dot: neither `..` nor a hidden file, which DVC ignores.
FILE = re.compile(rf"{WEIGHTS_FOLDER}(/[^/\\.\s][^/\\\n]*)+\.keras")


def check_weights(weights: str) -> str:
    """Return `weights` where it is spelled as something that cannot change without DVC seeing it.

    That is `imagenet`, `none`, a file below data/weights, or a version of a registered model.
    Raises ValueError with the rule, as pydantic wants it.

    >>> check_weights("data/weights/birds.keras")
    'data/weights/birds.keras'
    """
    if weights in ("imagenet", "none") or VERSION.fullmatch(weights) or FILE.fullmatch(weights):
        return weights
    if ALIAS.fullmatch(weights):
        raise ValueError(
            "an alias moves, so name the version that it is on: `fovea retrain --from champion` "
            "writes the version of the champion here"
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
    """The classifier: backbone, its weights, and the head on top."""

    backbone: str = Field(description="`compact` or a Keras application, such as mobilenet_v2")
    width: Annotated[float, Field(gt=0, le=4)] = Field(description="multiplier on channel counts")
    weights: Weights = Field(
        description="imagenet, none, data/weights/NAME.keras, or models:/NAME/3#sha256=…"
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(description="before the logits")
