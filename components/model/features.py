"""A frozen backbone and images → features, computed once and kept by content.

A head is then trained in a second, and a search over heads costs almost nothing.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.files import written_whole
from components.model.classifier import Classifier, outputs
from components.model.model_file import numbered
from components.training_set.examples import Examples


def frozen_features(
    classifier: Classifier, examples: Examples, content: str, cache: Path
) -> Examples:
    """Return the examples with features float32 [N, D] in place of images.

    content: names the images, as a hash over them; with the backbone's weights it names the file in
    the folder `cache` where features are kept.
    """
    path = cache / f"{_key(classifier.backbone, content)}.npy"
    if not path.exists():
        shown = f"features of {len(examples)} images through the frozen backbone, batches"
        features = outputs(classifier.backbone, examples.inputs, shown)
        with written_whole(path) as temporary, temporary.open("wb") as file:
            np.save(file, features)
    kept: NDArray[np.float32] = np.load(path)
    return Examples(kept, examples.labels)


def _key(backbone: Any, content: str) -> str:
    """Hash everything that a feature depends on: images, every layer's settings, weights, Keras."""
    import keras

    settings = numbered(json.dumps(keras.saving.serialize_keras_object(backbone)))
    digest = hashlib.sha256(f"{content} {keras.__version__} {settings}".encode())
    for weight in backbone.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()[:32]
