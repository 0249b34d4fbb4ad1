"""`model.weights` in params.yaml → the .keras file that training starts from."""

import re
from pathlib import Path

from components.errors import UserError
from components.params.model import Model
from components.registry.versions import download, find_version
from components.tracking.connection import connect

REFERENCE = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[\w-]+)|/(?P<number>\d+))")


def resolve_weights(model: Model, size: int | None = None) -> Path | None:
    """Return the .keras file that `model.weights` names; None for `none` and `imagenet`.

    size: side of the images in pixels; given, ImageNet's weights are fetched, so that their
    absence shows now. Raises UserError naming the file, alias or version that is not there.
    """
    weights = model.weights
    if weights == "imagenet" and size is not None:
        from components.model.backbones import check_imagenet

        check_imagenet(model, size)
    if weights in ("none", "imagenet"):
        return None
    if weights.startswith("models:"):
        return _registered_weights(weights)
    path = Path(weights).expanduser()
    if path.suffix != ".keras" or not path.is_file():
        raise UserError(
            "model.weights must be imagenet, none, an existing .keras file, "
            f"or models:/<name>@<alias>. Received: {weights}"
        )
    return path


def _registered_weights(weights: str) -> Path:
    reference = REFERENCE.fullmatch(weights)
    if reference is None:
        raise UserError(
            "model.weights from the registry are written models:/<name>@<alias> or "
            f"models:/<name>/<version>. Received: {weights}"
        )
    connect()
    wanted = reference["alias"] or reference["number"]
    return download(find_version(reference["name"], wanted))
