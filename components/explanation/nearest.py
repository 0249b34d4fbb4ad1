"""A classifier, images, training images → the training images that look most alike to it.

The network sees an image as the vector that its last layer (`logits`) gets. Two images whose
vectors have nearly the same direction look alike to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.explanation.few_images import outputs_of_few
from components.explanation.grad_cam import check_parts
from components.model.classifier import Classifier, outputs
from components.model.features import FrozenBackbone
from components.model.head import call_in_turn, head_layers
from components.training_set.examples import Examples

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]
BLOCK = 8_192  # known vectors that are compared at once
QUERIES = 256  # A block of similarities of float32 needs 8 MiB.


@dataclass(frozen=True)
class Nearest:
    """The most similar known vectors of each query, the most similar one first.

    indices: int64 [Q, K], rows of the known vectors. distances: float32 [Q, K], the cosine
    distances, from 0 (same direction) to 2 (opposite direction).
    """

    indices: NDArray[np.int64]
    distances: Floats


@dataclass(frozen=True)
class TrainingImages:
    """Training images, and their vectors by one classifier.

    images: uint8 [M, S, S, 3], also a memory map. labels: the names of the M classes. vectors:
    float32 [M, D].
    """

    images: Images
    labels: Sequence[str]
    vectors: Floats


def training_images(
    classifier: Classifier, images: Images, labels: Sequence[str], store: Path
) -> TrainingImages:
    """Return training images with their vectors.

    images: uint8 [M, S, S, 3], also a memory map; S is the size of the classifier. labels: the
    names of the M classes. store: the folder with the features of all backbones
    (`.fovea/features`). Only the features of images that are not stored are computed.
    Raises UserError if the network was not built by Fovea.
    """
    check_parts(classifier)
    examples = Examples(images, np.zeros(len(images), np.int64))  # The labels are not used.
    features = FrozenBackbone(classifier, store).features(examples).inputs
    return TrainingImages(images, labels, outputs(_after_backbone(classifier), features))


def vectors(classifier: Classifier, images: Images) -> Floats:
    """Return what the layer `logits` gets for each image: uint8 [N, S, S, 3] → float32 [N, D].

    It is for few images, and for the images as they are, also if the classifier averages over
    views. Raises UserError if the network was not built by Fovea.
    """
    check_parts(classifier)
    return outputs(_after_backbone(classifier), outputs_of_few(classifier.backbone, images))


def nearest(queries: Floats, known: Floats, count: int) -> Nearest:
    """Return the known vectors with the smallest cosine distance to each query.

    queries: float32 [Q, D]. known: float32 [M, D], also a memory map. count: K, or all if there are
    fewer than K known vectors. The search is exact: every query is compared with every vector, and
    of equal ones the first is taken. A block of QUERIES x BLOCK numbers is in memory. A vector of
    zeros has no direction; its distance to every other is 1.

    >>> found = nearest(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]]), 2)
    >>> found.indices.tolist(), found.distances.round(2).tolist()
    ([[1, 2]], [[0.0, 0.29]])
    """
    parts = [
        _nearest(_unit(queries[start : start + QUERIES]), known, min(count, len(known)))
        for start in range(0, len(queries), QUERIES)
    ]
    none = np.empty((0, min(count, len(known))))
    indices = np.concatenate([none.astype(np.int64), *(indices for indices, _ in parts)])
    distances = np.concatenate([none.astype(np.float32), *(far for _, far in parts)])
    return Nearest(indices, distances)


def _nearest(queries: Floats, known: Floats, count: int) -> tuple[NDArray[np.int64], Floats]:
    """Return the rows and the distances of the nearest vectors, both [Q, count].

    queries: vectors of length 1.
    """
    rows = np.empty((len(queries), 0), np.int64)
    distances = np.empty((len(queries), 0), np.float32)
    for start in range(0, len(known), BLOCK):
        block = _unit(np.asarray(known[start : start + BLOCK]))
        here = np.broadcast_to(np.arange(start, start + len(block)), (len(queries), len(block)))
        # The best ones so far come first, so a stable sort prefers them among equal ones.
        rows = np.concatenate([rows, here], axis=1)
        distances = np.concatenate([distances, 1 - queries @ block.T], axis=1)
        best = np.argsort(distances, axis=1, kind="stable")[:, :count]
        rows = np.take_along_axis(rows, best, axis=1)
        distances = np.take_along_axis(distances, best, axis=1)
    return rows, np.clip(distances, 0, 2)


def _unit(rows: Floats) -> Floats:
    rows = rows.astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return unit


def _after_backbone(classifier: Classifier) -> Any:
    """Return a keras.Model from the features to what the layer `logits` gets."""
    import keras

    features = keras.Input(classifier.backbone.output.shape[1:])
    return keras.Model(features, call_in_turn(head_layers(classifier.model)[:-1], features))
