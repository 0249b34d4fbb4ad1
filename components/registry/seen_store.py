"""A registered version ⇄ the list of the images that its model has seen, beside its model file.

The list is a file in the model folder in MLflow. So it stays with the version if the run of the
training is deleted. A tag of the version has the sha256 of the file. See seen.py for the list.
"""

import tempfile
from pathlib import Path

from components.errors import UserError, one_line
from components.files import sha256
from components.registry.seen import Seen, nothing_seen, read_seen, write_seen
from components.registry.versions import Version, find_version, tag_version
from components.tracking.connection import client

FILE = "data/seen.parquet"  # the path inside the model folder
SEEN_ID = "seen_id"  # the key of the tag with the sha256 of the file


def keep_seen(version: Version, seen: Seen) -> None:
    """Store what the model of a version has seen, unless this is stored already.

    A version that an older Fovea registered gets its list if its model is trained again, because
    equal bytes are the same version. Raises MlflowException if MLflow does not answer.
    """
    if SEEN_ID in version.tags:
        return
    source = client().get_model_version(version.name, str(version.number)).source or ""
    logged_id = source.removeprefix("models:/")  # see `register_version`
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / FILE
        write_seen(file, seen)
        client().log_model_artifacts(logged_id, folder)
        tag_version(version.name, version.number, {SEEN_ID: sha256(file)})


def seen_by(version: Version) -> Seen:
    """Return what the model of a version has seen.

    If an older Fovea registered the version, the list has no images and the name of the version in
    `unknown`. Raises UserError if the file is missing in MLflow, or was changed.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    if SEEN_ID not in version.tags:
        return nothing_seen(f"version {version.number} of {version.name}")
    called = f"models:/{version.name}/{version.number}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            client()  # This call sets the address that download_artifacts uses.
            file = Path(download_artifacts(f"{called}/{FILE}", dst_path=folder))
        except (MlflowException, OSError) as error:
            raise UserError(
                f"the list of the images that this version was trained on ({FILE}) cannot be "
                f"downloaded from MLflow ({one_line(error)}). Received: {called}"
            ) from error
        if (actual := sha256(file)) != version.tags[SEEN_ID]:
            raise UserError(
                f"the list of the images that this version was trained on ({FILE}) was changed: "
                f"its sha256 is {actual}, and should be {version.tags[SEEN_ID]}. Received: {called}"
            )
        return read_seen(file)


def seen_before(started_from: str) -> Seen:
    """Return what the model has seen whose weights a training started from.

    started_from: `none`, `imagenet`, or the sha256 of a model file, see Classifier. A version with
    this file is looked for under all names. If there is none, as for a file that was never
    registered in this MLflow, the list has no images and the weights in `unknown`.
    """
    if started_from in ("none", "imagenet"):
        return nothing_seen()
    rows = client().search_model_versions(f"tags.model_id = '{started_from}'")
    found = [find_version(row.name, str(row.version)) for row in rows]
    lists = sorted(map(seen_by, found), key=lambda seen: len(seen.unknown))
    return lists[0] if lists else nothing_seen(f"the weights {started_from[:12]}…")
