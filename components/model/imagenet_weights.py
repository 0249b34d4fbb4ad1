"""A Keras application → the application with ImageNet weights, from Keras' cache or by a download.

Keras compares the file with a hash that it knows, or, if it knows none, the weights are compared
with the sha256 in applications.py.
"""

import hashlib
import logging
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from components.errors import UserError
from components.model.applications import Application
from components.params.model import Model

log = logging.getLogger(__name__)


def check_content(network: Any, model: Model, application: Application, size: int) -> None:
    """Raise UserError if the sha256 of the ImageNet weights differs from `APPLICATIONS`.

    If `APPLICATIONS` has no sha256 for the width and size, only log the sha256 of the weights.
    """
    actual = content_sha256(network)
    trained_on = size if size in application.sizes else 224
    expected = (application.imagenet or {}).get((model.width, trained_on))
    if expected is None:
        log.info(
            f"the ImageNet weights of {model.backbone} of width {model.width} for {trained_on} px "
            "are not checked, because Fovea has no sha256 to compare with; their sha256 is "
            f"{actual}"
        )
    elif actual != expected:
        raise UserError(
            f"the ImageNet weights of {model.backbone} of width {model.width} are not the "
            f"published weights; remove their file from {_keras_folder()}, so that Keras downloads "
            f"it again. Received: sha256 {actual} instead of {expected}"
        )


def content_sha256(network: Any) -> str:
    """Return the sha256 of all weights of a network, as 64 hex digits.

    network: a keras.Model. The hash covers the name, the shape and the float32 bytes of each
    tensor. So equal weights have equal hashes, even if they were read from different files.
    """
    import keras

    digest = hashlib.sha256()
    for weight in network.weights:
        values = np.ascontiguousarray(keras.ops.convert_to_numpy(weight), "<f4")
        digest.update(f"{weight.path} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _keras_folder() -> Path:
    return Path(os.environ.get("KERAS_HOME", "~/.keras")) / "models"


def fetch(
    construct: Callable[..., Any], arguments: dict[str, Any], model: Model, application: Application
) -> Any:
    """Build the application with ImageNet weights, from Keras' cache or by a download.

    construct: the function of keras.applications. arguments: its keyword arguments. model: the
    section of params.yaml that the error message names. application: the line of `APPLICATIONS`.
    Raises UserError if the weights are not in the cache and cannot be downloaded.
    """
    import socket

    timeout_s = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)  # in seconds; without this line a download could wait forever
    try:
        with warnings.catch_warnings():
            # Keras says that it has weights for 224 px only, which fit images of other sizes, too.
            warnings.filterwarnings("ignore", "`input_shape` is undefined or non-square")
            return construct(**arguments)
    except Exception as error:
        if not isinstance(error, TimeoutError) and "URL fetch failure" not in str(error):
            raise
        looked_for = _keras_folder()
        if address := re.search(r"https?://\S+/([^/\s:]+)", str(error)):
            looked_for /= application.cached_as or address[1]
        raise UserError(
            f"the ImageNet weights of {construct.__name__} are not in Keras' cache and cannot be "
            f"downloaded; put their file into the cache, or write `{model.without_weights}` in the "
            f"section {model.place}. "
            f"Looked for: {looked_for}"
        ) from None
    finally:
        socket.setdefaulttimeout(timeout_s)
