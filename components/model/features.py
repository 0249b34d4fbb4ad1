"""A frozen backbone and images → the features of the images, from a cache if possible.

A classifier consists of a backbone, which computes features from the pixels, and a head, which
computes the logits from the features. A backbone is frozen if its weights do not change. The
features that a frozen backbone gives for an image are computed only once, and stored in a file.
Training a head on stored features takes about a second, so a search can try many heads in a short
time.
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
    """Return examples with the same labels, and with features float32 [N, D] instead of images.

    classifier: the classifier whose backbone computes the features. examples: images uint8
    [N, size, size, 3] with labels. content: a text that is different for different images, such as
    a hash of the images. cache: the folder with the stored features. The name of a file in this
    folder is a hash of `content` and of the backbone. So the features of other images or of another
    backbone are in another file.
    """
    path = cache / f"{_key(classifier.backbone, content)}.npy"
    if not path.exists():
        shown = f"features of {len(examples)} images from the frozen backbone, batch"
        features = outputs(classifier.backbone, examples.inputs, shown)
        with write_whole(path) as temporary, temporary.open("wb") as file:
            np.save(file, features)
    stored: NDArray[np.float32] = np.load(path)
    return Examples(stored, examples.labels)


def _key(backbone: Any, content: str) -> str:
    """Return a hash (32 hex digits) of everything on which the features depend.

    The hash covers the images (by `content`), the settings of all layers, all weights and the
    version of Keras.
    """
    import keras

    settings = number_objects(json.dumps(keras.saving.serialize_keras_object(backbone)))
    digest = hashlib.sha256(f"{content} {keras.__version__} {settings}".encode())
    for weight in backbone.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()[:32]
