"""Images, a classifier, training images → explanations: maps over images, and what looks alike.

`mistakes.py` chooses the images that a report shows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.explanation.grad_cam import GradCam
from components.explanation.nearest import TrainingImages, nearest, vectors
from components.explanation.pictures import overlay
from components.images.png_writer import encode_png
from components.training_set.picture import Tile, draw_picture

Images = NDArray[np.uint8]
Ints = NDArray[np.integer]
WHITE = np.full((1, 1, 3), 255, np.uint8)


@dataclass(frozen=True)
class Neighbour:
    """A training image that looks alike to the classifier.

    row: its row in the training images. image: uint8 [S, S, 3]. label: the name of its class.
    distance: the cosine distance of the vectors, from 0 to 2.
    """

    row: int
    image: Images
    label: str
    distance: float

    @property
    def image_png(self) -> bytes:
        """Return the bytes of a PNG file with the image."""
        return encode_png(self.image)


@dataclass(frozen=True)
class Explanation:
    """An image, the prediction of its class, and what it rests on.

    row: the row of the image in the images that were given. image: uint8 [S, S, 3], what the
    classifier got. label: the name of the right class; None if it is not known. predicted: the name
    of the predicted class. probability: its probability. explained: the name of the class that the
    map is for, most often `predicted`. overlay: uint8 [S, S, 3], the map over the image. marked:
    False if nothing in the image speaks for the class; then the map is empty. nearest: the most
    similar training images, the nearest first; empty without training images.
    """

    row: int
    image: Images
    label: str | None
    predicted: str
    probability: float
    explained: str
    overlay: Images
    marked: bool
    nearest: tuple[Neighbour, ...]

    @property
    def image_png(self) -> bytes:
        """Return the bytes of a PNG file with the image."""
        return encode_png(self.image)

    @property
    def overlay_png(self) -> bytes:
        """Return the bytes of a PNG file with the map over the image."""
        return encode_png(self.overlay)


def explain_images(
    grad_cam: GradCam,
    images: Images,
    rows: Ints,
    probabilities: NDArray[np.floating],
    *,
    classes: Ints | None = None,
    labels: Ints | None = None,
    train: TrainingImages | None = None,
    count: int = 0,
) -> list[Explanation]:
    """Return the explanations of some images, in the order of `rows`.

    images: uint8 [N, S, S, 3], also a memory map. rows: int [R], the images to explain; R should be
    small. probabilities: float [N, C]. classes: int [N], the class that the map of each image is
    for; None for the predicted one. labels: int [N], the right classes; None if they are not known.
    train, count: the training images, and how many nearest ones of each image are looked for.
    """
    if not len(rows):
        return []
    classifier = grad_cam.classifier
    names, chosen = classifier.class_names, np.asarray(images[rows])
    predicted = probabilities.argmax(axis=1)
    explained = predicted if classes is None else classes
    maps = grad_cam.maps(chosen, explained[rows])
    alike: list[tuple[Neighbour, ...]] = [()] * len(rows)
    if train is not None and count:
        found = nearest(vectors(classifier, chosen), train.vectors, count)
        pairs = zip(found.indices, found.distances, strict=True)
        alike = [tuple(_neighbours(train, near, far)) for near, far in pairs]
    return [
        Explanation(
            row=row,
            image=chosen[position],
            label=None if labels is None else names[labels[row]],
            predicted=names[predicted[row]],
            probability=float(probabilities[row, predicted[row]]),
            explained=names[explained[row]],
            overlay=overlay(chosen[position], maps[position]),
            marked=bool(maps[position].any()),
            nearest=alike[position],
        )
        for position, row in enumerate(rows.tolist())
    ]


def contact_sheet(explanations: Sequence[Explanation]) -> bytes:
    """Return the bytes of a PNG file with a row of small pictures for each explanation.

    A row has the image, the map over it, and the nearest training images. explanations: at least
    one.
    """
    rows = [list(_tiles(each)) for each in explanations]
    longest = max(map(len, rows))
    blank = Tile(WHITE, ())
    return draw_picture([[*row, *[blank] * (longest - len(row))] for row in rows])


def _tiles(explanation: Explanation) -> Iterator[Tile]:
    label = () if explanation.label is None else (f"is {explanation.label}",)
    yield Tile(
        explanation.image, (f"{explanation.probability:.2f} {explanation.predicted}", *label)
    )
    yield Tile(explanation.overlay, ("map for", explanation.explained))
    for neighbour in explanation.nearest:
        yield Tile(neighbour.image, (f"near: {neighbour.distance:.2f}", neighbour.label))


def _neighbours(
    train: TrainingImages, rows: NDArray[np.int64], distances: NDArray[np.float32]
) -> Iterator[Neighbour]:
    for row, distance in zip(rows.tolist(), distances.tolist(), strict=True):
        yield Neighbour(row, np.asarray(train.images[row]), train.labels[row], distance)
