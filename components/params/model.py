"""Section `model`: the classifier."""

from typing import Annotated

from pydantic import Field

from components.params.section import Section


class Model(Section):
    """The classifier: backbone, its weights, and the head on top."""

    backbone: str = Field(description="`compact` or a Keras application, such as mobilenet_v2")
    width: Annotated[float, Field(gt=0, le=4)] = Field(description="multiplier on channel counts")
    weights: str = Field(description="imagenet, none, a .keras file, or models:/<name>@<alias>")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(description="before the logits")
