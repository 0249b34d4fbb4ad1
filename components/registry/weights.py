"""`model.weights` of params.yaml → the path of the .keras file that training starts from."""

from pathlib import Path
from re import Match

from components.errors import UserError
from components.params.model import VERSION, Model
from components.registry.versions import download, find_version
from components.tracking.connection import address, connect


def resolve_weights(model: Model, size: int | None = None) -> Path | None:
    """Return the .keras file that `model.weights` names; None for `none` and `imagenet`.

    size: the side of the images in pixels. If it is given and the weights are `imagenet`, they are
    downloaded now, so that a failed download stops the stage early.

    Raises UserError if the file or version is missing, the sha256 of the version is not the one in
    params.yaml, its file was changed, or ImageNet's weights cannot be downloaded.
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
            f"the file that model.weights names is missing; copy it to {path.parent}, or restore "
            f"it with git or `dvc pull`. Received: {weights}"
        )
    return path


def _registered_weights(written: Match[str]) -> Path:
    """Return the .keras file of the version that params.yaml names by number and sha256.

    The sha256 is needed, since the same number is another model in another MLflow store.
    """
    connect()
    version = find_version(written["name"], written["number"])
    if written["sha256"] is None and version.model_id:
        raise UserError(
            "model.weights must contain the sha256 of the version, since another store has other "
            f"versions of the same number; write {version.reference}. Received: {written[0]}"
        )
    if version.model_id and version.model_id != written["sha256"]:
        raise UserError(
            f"version {version.number} of {version.name} at {address()} is not the model that "
            f"params.yaml names: its sha256 is {version.model_id}, and should be "
            f"{written['sha256']}; it is not loaded. Received: {written[0]}"
        )
    return download(version)
