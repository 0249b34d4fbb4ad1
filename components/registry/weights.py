"""`weights` in params.yaml → the .keras file that training starts from, with the bytes it names."""

from pathlib import Path
from re import Match

from components.errors import UserError
from components.params.model import VERSION, Model
from components.registry.versions import download, find_version
from components.tracking.connection import address, connect


def resolve_weights(model: Model, size: int | None = None) -> Path | None:
    """Return the .keras file that `model.weights` names; None for `none` and `imagenet`.

    size: side of the images in pixels; given, ImageNet's weights are fetched, so that their
    absence shows now. Raises UserError naming the file or version that is missing, or whose
    sha256 is not the one that params.yaml names.
    """
    weights = model.weights
    if weights == "imagenet" and size is not None:
        from components.model.backbones import check_imagenet

        check_imagenet(model, size)
    if weights in ("none", "imagenet"):
        return None
    if version := VERSION.fullmatch(weights):
        return _registered_weights(version)
    path = Path(weights)
    if not path.is_file():
        raise UserError(
            f"weights name a file that is missing; copy it to {path.parent}, or bring it back with "
            f"git or `dvc pull`. Received: {weights}"
        )
    return path


def _registered_weights(written: Match[str]) -> Path:
    """Return the file of the version; numbers repeat in another store, its sha256 does not."""
    connect()
    version = find_version(written["name"], written["number"])
    if written["sha256"] is None and version.model_id:
        raise UserError(
            "weights must name the sha256 of a version, too, since another store has other "
            f"versions of the same number: write {version.reference}. Received: {written[0]}"
        )
    if version.model_id and version.model_id != written["sha256"]:
        raise UserError(
            f"version {version.number} of {version.name} at {address()} is not the model that "
            f"params.yaml names: its sha256 is {version.model_id}, and should be "
            f"{written['sha256']}; it is not loaded. Received: {written[0]}"
        )
    return download(version)
