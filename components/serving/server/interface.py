"""A model and its predictions → the trees that the server sends, and their descriptions."""

from typing import Any

from pydantic import BaseModel, Field

from components.serving.model import Model, Prediction
from components.serving.server import problems
from components.serving.server.bodies import FIELD, JSON, MULTIPART


class ModelName(BaseModel):
    """The model that has answered."""

    name: str | None = Field(description="The registered model; null for a plain file.")
    version: int | None
    sha256: str = Field(description="The sha256 of its file; empty for a plain file.")


class Class(BaseModel):
    """A class and its probability."""

    label: str
    probability: float


class Answer(BaseModel):
    """What the model says about one image; either `fault` is null, or `label` is."""

    label: str | None
    probability: float | None
    top: list[Class] = Field(description="The most probable classes, the most probable first.")
    fault: str | None = Field(description="The code of the reason why the image is refused.")
    reason: str | None = Field(description="The same for people.")


class Predictions(BaseModel):
    """The answer to a request: one entry for each image, in their order."""

    model: ModelName
    images: list[Answer]


class Explained(BaseModel):
    """The prediction of one image, and where the model sees what speaks for a class."""

    model: ModelName
    image: Answer
    explained: str = Field(description="The class that the map is for.")
    marked: bool = Field(description="False if nothing in the image speaks for the class.")
    picture: str = Field(description="The map over the image, a PNG file as data URI.")


def body(most: int) -> dict[str, Any]:
    """Return the body of a request with up to `most` images, for OpenAPI."""

    def of(name: str, form: str) -> dict[str, Any]:
        images = {
            "type": "array",
            "minItems": 1,
            "maxItems": most,
            "items": {"type": "string", "format": form},
        }
        return {
            "type": "object",
            "required": [name],
            "properties": {name: images},
            "additionalProperties": False,
        }

    content = {
        MULTIPART: {"schema": of(FIELD, "binary")},
        JSON: {"schema": of("images", "byte")},
    }
    return {"requestBody": {"required": True, "content": content}}


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {problems.TYPE: {}}}
    for status, text in {
        400: "The body is broken.",
        401: "The token is missing or wrong.",
        408: "The body was not complete in time.",
        413: "Too many bytes or images.",
        415: "The body is of another type.",
        422: "No image can be answered, or a value is wrong.",
        503: "Too much is in work; Retry-After says when to ask again.",
    }.items()
}


def model_name(model: Model) -> dict[str, Any]:
    """Return the tree of ModelName."""
    version = model.version
    if version is None:
        return {"name": None, "version": None, "sha256": ""}
    return {"name": version.name, "version": version.number, "sha256": version.model_id}


def answer(prediction: Prediction) -> dict[str, Any]:
    """Return the tree of Answer."""
    return {
        "label": prediction.label,
        "probability": prediction.probability,
        "top": [{"label": name, "probability": share} for name, share in prediction.top],
        "fault": prediction.fault,
        "reason": prediction.reason or None,
    }
