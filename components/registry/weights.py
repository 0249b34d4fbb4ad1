"""`model.weights` of params.yaml → the path of the .keras file from which training starts.

`model.weights` is `none` (random weights), `imagenet` (ImageNet weights), the path of a .keras
file, or a version of a registered model in MLflow, such as `models:/digits/3#sha256=…`.
"""

from pathlib import Path
from re import Match

from components.errors import UserError
from components.params.model import VERSION, Model
from components.registry.versions import download, find_version
from components.tracking.connection import address, connect


def resolve_weights(model: Model, size: int | None = None) -> Path | None:
    """Return the path of the .keras file that `model.weights` names.

    Returns None if `model.weights` is `none` or `imagenet`, because these values name no .keras
    file.

    model: the section `model` of params.yaml. size: the width and the height of the images in
    pixels, or None. If `size` is given and `model.weights` is `imagenet`, the ImageNet weights are
    checked now, and downloaded if they are missing. So an error stops the stage before it trains.

    Raises UserError in these cases:

    - The file or the version that `model.weights` names is missing, or the path is a folder.
    - `model.weights` names a version without its sha256, or with a wrong sha256.
    - The version was not registered by Fovea.
    - The file of the version cannot be downloaded, or was changed in MLflow.
    - The ImageNet weights cannot be downloaded, or do not fit `model` and `size`.
    - MLflow does not answer.
    """
    weights = model.weights
    if weights == "imagenet" and size is not None:
        from components.model.backbones import check_imagenet

        check_imagenet(model, size)
    if weights in ("none", "imagenet"):
        return None
    if version := VERSION.fullmatch(weights):
        return _registered_weights(version, model)
    path = Path(weights)
    if not path.is_file():
        if path.exists():
            raise UserError(
                f"{model.place}.weights must name a file. Received: {weights}, a folder"
            )
        raise UserError(
            f"the file that {model.place}.weights names is missing; copy the file to "
            f"{path.parent}, or restore it with git or `dvc pull`. Received: {weights}"
        )
    return path


def _registered_weights(written: Match[str], model: Model) -> Path:
    """Return the path of the .keras file of the version that `model.weights` names.

    written: a match of the pattern VERSION with `model.weights`; its groups are the name, the
    number and the sha256. model: the section of params.yaml that error messages name. The sha256
    is needed, since another MLflow store can have another model with the same name and number.
    """
    connect()
    version = find_version(written["name"], written["number"])
    if written["sha256"] is None and version.model_id:
        raise UserError(
            f"{model.place}.weights must contain the sha256 of the version, since another MLflow "
            "store can have another model with the same name and number; write "
            f"{version.reference}. Received: {written[0]}"
        )
    if version.model_id and version.model_id != written["sha256"]:
        raise UserError(
            f"version {version.number} of {version.name} at {address()} is not the model that "
            f"{model.place}.weights names: its sha256 is {version.model_id}, and should be "
            f"{written['sha256']}; check MLFLOW_TRACKING_URI, or set {model.place}.weights to "
            f"{version.reference}. Received: {written[0]}"
        )
    return download(version)
