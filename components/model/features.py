"""A frozen backbone and images → the features of the images, from a store if possible.

A classifier consists of a backbone, which computes features from the pixels, and a head, which
computes the logits from the features. A backbone is frozen if its weights do not change. The
features that a frozen backbone gives for an image are computed only once, and stored (see
feature_store.py). Training a head on stored features takes about a second, so a search can try many
heads in a short time. If images are added, only the features of the new images are computed.

A view is a changed copy of an image, such as a mirrored one. The features of views are stored in
the same way. Each view has a folder of its own beside the folder of the images as they are.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

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
from components.model.frozen_network import frozen_network
from components.model.model_file import number_objects
from components.progress import track
from components.training_set.examples import Examples
from components.words import count_text

# A view, and the rows of at most PREDICTION_BATCH images. View 0 is the image as it is.
Part = tuple[int, NDArray[np.intp]]


class Views(Protocol):
    """Views of images, numbered from 1 to `count`, as in `components.training.views`.

    View k of an image depends only on the pixels of the image, on k and on what `key` hashes.
    """

    @property
    def count(self) -> int:
        """Return the number of views of each image."""
        ...

    def key(self, view: int) -> str:
        """Return a hash (hex) of everything but the pixels on which a view depends."""
        ...

    def batches(
        self, examples: Examples, parts: Sequence[Part]
    ) -> AbstractContextManager[Iterator[NDArray[np.uint8]]]:
        """Yield an iterator over the views of each part: uint8 [B, size, size, 3]."""
        ...


class FrozenBackbone:
    """A backbone whose weights do not change, and the store with its features.

    The stored features of images as they are are read once, when the object is created.
    """

    def __init__(self, classifier: Classifier, store: Path) -> None:
        """Read the stored features.

        classifier: the classifier with the backbone. store: the folder with the features of all
        backbones.
        """
        self._backbone, self._store = classifier.backbone, store
        self._key = _key(self._backbone)
        self._known = read_features(store / self._key)
        self._used: set[Path] = set()

    def features(self, examples: Examples, views: Views | None = None) -> Examples:
        """Return examples with features float32 [N, D] instead of images.

        With K views, the features are float32 [(K + 1) * N, D]: first those of the N images as they
        are, then those of view 1 of the N images, and so on. The labels are repeated in the same
        way. Only features that are not stored are computed.
        examples: images uint8 [N, size, size, 3] with labels. views: None for no views.
        """
        names, folders = examples.digests, self._folders(views)
        first: dict[bytes, int] = {}  # Equal images have equal names, so they are computed once.
        for row, name in enumerate(names):
            first.setdefault(name, row)
        table = np.empty((len(folders), len(names), self._backbone.output_shape[-1]), np.float32)
        missing = [
            _fill(table[view], first, read_features(folder) if view else self._known)
            for view, folder in enumerate(folders)
        ]
        self._compute(examples, views, missing, folders, table)
        self._used.update(folders)
        remove_oldest(self._store, self._used)
        source = np.fromiter((first[name] for name in names), np.intp, len(names))
        copies = np.flatnonzero(source != np.arange(len(names)))
        table[:, copies] = table[:, source[copies]]
        return Examples(table.reshape(-1, table.shape[-1]), np.tile(examples.labels, len(folders)))

    @cached_property
    def _network(self) -> Callable[[Any], Any] | None:
        return frozen_network(self._backbone)

    def _folders(self, views: Views | None) -> list[Path]:
        """Return the folder of the images as they are, and the folders of views 1 to K."""
        keys = [views.key(view) for view in range(1, views.count + 1)] if views else []
        return [self._store / name for name in (self._key, *(f"{self._key}-{key}" for key in keys))]

    def _compute(
        self,
        examples: Examples,
        views: Views | None,
        missing: list[NDArray[np.intp]],
        folders: list[Path],
        table: NDArray[np.float32],
    ) -> None:
        """Compute and store the features of the missing rows of each view; write them to `table`.

        table: float32 [K + 1, N, D].
        """
        parts = [
            (view, rows[start : start + PREDICTION_BATCH])
            for view, rows in enumerate(missing)
            for start in range(0, len(rows), PREDICTION_BATCH)
        ]
        if not parts:
            return
        unwritten: Features = {}
        with ExitStack() as stack:
            batches: Iterator[NDArray[np.uint8]]
            batches = (examples.inputs[rows] for view, rows in parts if view == 0)
            changed = [part for part in parts if part[0]]
            if views and changed:
                batches = chain(batches, stack.enter_context(views.batches(examples, changed)))
            count = count_text(sum(map(len, missing)), "image")
            words = f"features of {count}{' and views' if views else ''}"
            steps = zip(parts, batches, strict=True)
            for number, ((view, rows), images) in enumerate(
                track(steps, f"{words}, batch", len(parts)), start=1
            ):
                table[view, rows] = outputs(self._backbone, images, self._network)
                unwritten |= {examples.digests[row]: table[view, row] for row in rows}
                over = number == len(parts) or parts[number][0] != view
                if over or len(unwritten) == ROWS:
                    write_features(folders[view], unwritten)
                    if view == 0:
                        self._known |= unwritten
                    unwritten = {}


def _fill(table: NDArray[np.float32], first: dict[bytes, int], known: Features) -> NDArray[np.intp]:
    """Write the known features to the table [N, D], and return the rows of the others.

    first: hash of the pixels → the first row with these pixels.
    """
    missing = []
    for name, row in first.items():
        if name in known:
            table[row] = known[name]
        else:
            missing.append(row)
    return np.array(missing, np.intp)


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
