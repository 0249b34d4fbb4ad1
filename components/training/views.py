"""Images, the random changes of training, a seed and K → K changed copies of each image, the views.

View k of an image depends only on the pixels of the image, on k, on the changes and on the seed. It
does not depend on the place of the image in the data. So if images are added, the views of all
other images stay as they are, and so do their stored features.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.model.backend import PREDICTION_BATCH
from components.model.features import Part
from components.params.train import Train
from components.training import augmentation, colour_passes, geometric_passes, passes
from components.training.augmentation import Policy, build_augmentation
from components.training.batches import VIEWS, Batch
from components.training.feeding import Feed, worker_count
from components.training_set.examples import Examples

log = logging.getLogger(__name__)

BATCHES = 8  # for each worker process; with fewer, it takes longer to start than it saves


@dataclass(frozen=True)
class Views:
    """The views of images.

    policy: the random changes. seed: the seed from which they are drawn, 0 or more. count: the
    number of views of each image.
    """

    policy: Policy
    seed: int
    count: int

    def key(self, view: int) -> str:
        """Return a hash (32 hex digits) of everything but the pixels on which a view depends.

        The hash also covers the code that draws and changes, so that features of views that an
        earlier code made are never used.
        """
        digest = hashlib.sha256(f"{self.policy.content} {self.seed} {view}".encode())
        for module in (augmentation, passes, geometric_passes, colour_passes):
            digest.update(Path(str(module.__file__)).read_bytes())
        digest.update(Path(__file__).read_bytes())
        return digest.hexdigest()[:32]

    @contextmanager
    def batches(
        self, examples: Examples, parts: Sequence[Part]
    ) -> Iterator[Iterator[NDArray[np.uint8]]]:
        """Yield an iterator over the views of each part: uint8 [B, size, size, 3].

        They are made ahead of time, by worker processes or by a thread. The number of workers
        changes no byte.
        """
        names = [[examples.digests[row] for row in rows] for _, rows in parts]
        stream = ViewStream(examples, self.policy, self.seed, tuple(parts), names)
        with Feed(stream, min(worker_count(), len(parts) // BATCHES)) as feed:
            batches = islice(feed, len(parts))
            yield (
                images[: len(rows)]
                for (images, _, _), (_, rows) in zip(batches, parts, strict=True)
            )


def build_views(train: Train) -> Views | None:
    """Return the views for the section `train` of params.yaml; None if it asks for no views.

    If `train.augmentation` changes nothing, the result is None, too, with a warning.
    """
    if not train.head.views:
        return None
    policy = build_augmentation(train.augmentation)
    if not policy.passes:
        log.warning(
            "there are no views, because train.augmentation changes nothing. "
            f"Received: train.head.views: {train.head.views}"
        )
        return None
    return Views(policy, train.seed, train.head.views)


@dataclass(frozen=True)
class ViewStream:
    """An endless stream of batches of views, one for each part. It can be sent to a process.

    names: for each part, the hashes of its images.
    """

    examples: Examples
    policy: Policy
    seed: int
    parts: tuple[Part, ...]
    names: list[list[bytes]]

    def batch(self, index: int) -> Batch:
        """Return the views of part `index`; after the last part follows the first one.

        All batches of a feed have PREDICTION_BATCH images. So the images of a shorter part are
        repeated.
        """
        index %= len(self.parts)
        view, rows = self.parts[index]
        numbers = [self._numbers(view, name) for name in self.names[index]]
        filled = np.arange(PREDICTION_BATCH) % len(rows)
        images = np.asarray(self.examples.inputs[rows[filled]])
        changed = self.policy.change_by(images, np.stack(numbers)[filled])
        labels = self.examples.labels[rows[filled]]
        return changed, labels, np.ones(PREDICTION_BATCH, np.float32)

    def _numbers(self, view: int, name: bytes) -> NDArray[np.float64]:
        """Return the random numbers of a view, float64 [draws]. name: the hash of the image."""
        generator = np.random.default_rng([self.seed, VIEWS, view, int.from_bytes(name)])
        return generator.random(self.policy.draws)
