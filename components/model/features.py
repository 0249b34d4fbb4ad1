"""A frozen backbone and images → the features of the images, from a store if possible.

A classifier consists of a backbone, which computes features from the pixels, and a head, which
computes the logits from the features. A backbone is frozen if its weights do not change. The
features that a frozen backbone gives for an image are computed only once, and stored (see
feature_store.py). Training a head on stored features takes about a second, so a search can try many
heads in a short time. If images are added, only the features of the new images are computed.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.model.arithmetic import arithmetic
from components.model.backend import PREDICTION_BATCH
from components.model.classifier import Classifier, outputs
from components.model.feature_store import (
    ROWS,
    Features,
    read_features,
    remove_oldest,
    write_features,
)
from components.model.model_file import number_objects
from components.progress import track
from components.training_set.examples import Examples


def frozen_features(classifier: Classifier, examples: Examples, store: Path) -> Examples:
    """Return examples with the same labels, and with features float32 [N, D] instead of images.

    classifier: the classifier whose backbone computes the features. examples: images uint8
    [N, size, size, 3] with labels. store: the folder with the stored features. They are found by
    the pixels of the image and by the backbone.
    """
    folder = store / _key(classifier.backbone)
    names = examples.digests
    known = read_features(folder)
    # Equal images have equal names, so they are computed once.
    missing = {name: row for row, name in enumerate(names) if name not in known}
    rows = np.fromiter(missing.values(), np.intp)
    starts = range(0, len(rows), PREDICTION_BATCH)
    unwritten: Features = {}
    for start in track(starts, f"features of {len(rows)} images, batch", len(starts)):
        batch = rows[start : start + PREDICTION_BATCH]
        computed = outputs(classifier.backbone, examples.inputs[batch])
        unwritten |= {names[row]: features for row, features in zip(batch, computed, strict=True)}
        if len(unwritten) == ROWS or start == starts[-1]:
            write_features(folder, unwritten)
            known |= unwritten
            unwritten = {}
    remove_oldest(store, folder)
    stacked = [known[name] for name in names]
    return Examples(np.stack(stacked) if stacked else _none(classifier), examples.labels)


def _none(classifier: Classifier) -> NDArray[np.float32]:
    return np.empty((0, classifier.backbone.output_shape[-1]), np.float32)


def _key(backbone: Any) -> str:
    """Return a hash (32 hex digits) of everything but the images on which the features depend.

    The hash covers the settings of all layers, all weights, and the conditions of the arithmetic.
    So a training has the same bytes, whatever an earlier program or another machine has stored.
    """
    import keras

    settings = number_objects(json.dumps(keras.saving.serialize_keras_object(backbone)))
    digest = hashlib.sha256(f"{json.dumps(arithmetic())} {settings}".encode())
    for weight in backbone.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()[:32]
