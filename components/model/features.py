"""A frozen backbone and images → features, which are computed once and kept in a cache.

Training a head on cached features takes about a second, so a search over heads is cheap.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.files import write_whole
from components.model.classifier import Classifier, outputs
from components.model.model_file import number_objects
from components.training_set.examples import Examples


def frozen_features(
    classifier: Classifier, examples: Examples, content: str, cache: Path
) -> Examples:
    """Return the examples with features float32 [N, D] instead of images.

    content: a hash of the images. cache: the folder with the files of features. A file is named
    by a hash of `content` and the backbone, so other images or weights use another file.
    """
    path = cache / f"{_key(classifier.backbone, content)}.npy"
    if not path.exists():
        shown = f"features of {len(examples)} images through the frozen backbone, batches"
        features = outputs(classifier.backbone, examples.inputs, shown)
        with write_whole(path) as temporary, temporary.open("wb") as file:
            np.save(file, features)
    stored: NDArray[np.float32] = np.load(path)
    return Examples(stored, examples.labels)


def _key(backbone: Any, content: str) -> str:
    """Return a hash, 32 hex digits, of everything that the features depend on.

    That is the images, the settings of all layers, the weights and the version of Keras.
    """
    import keras

    settings = number_objects(json.dumps(keras.saving.serialize_keras_object(backbone)))
    digest = hashlib.sha256(f"{content} {keras.__version__} {settings}".encode())
    for weight in backbone.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()[:32]
