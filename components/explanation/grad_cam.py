"""A classifier, images, classes → where in each image it sees what speaks for the class (Grad-CAM).

Grad-CAM (Selvaraju et al., 2017): the last spatial layer of the network has maps, one for each of
its channels. The weight of a channel is the mean gradient of the logit of the class with respect to
its map. The weighted sum of the maps, without its negative part, is high where the image raises the
logit. It is enlarged to the size of the image.

The saved model is: logits → mean over views → logit adjustment → ÷ temperature → softmax. The
gradient is that of the logit: the adjustment adds a number and the temperature is a factor, so both
change nothing in the map, and the softmax would mix in the other classes. If the model averages its
logits over views, the weighted sum of each view is put back to its place in the image, and they are
averaged, too.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.calibration.averaged_views import Place, places_of_views, views_of
from components.errors import UserError
from components.explanation.few_images import BATCH
from components.explanation.gradients import build_gradients
from components.explanation.spatial import split_at_last_maps
from components.model.classifier import Classifier
from components.model.head import call_in_turn, head_layers

Floats = NDArray[np.float32]


class GradCam:
    """Grad-CAM for one classifier.

    classifier: as given. layer: the name of the layer whose maps are used. grid: (height, width) of
    these maps; an explanation cannot be finer than this grid.
    """

    def __init__(self, classifier: Classifier) -> None:
        """Split the network at its last spatial layer.

        classifier: it may have views, a logit adjustment and a temperature.
        Raises UserError if the network was not built by Fovea, or if it has no spatial layer.
        """
        check_parts(classifier)
        self.classifier = classifier
        split = split_at_last_maps(classifier.backbone)
        self.layer: str = split.layer
        height, width = split.front.output_shape[1:3]
        self.grid: tuple[int, int] = (height, width)
        views = views_of(classifier)
        self._places = tuple(places_of_views(views, classifier.size).values())
        self._views = None if views == "plain" else _views_model(classifier)
        self._compute = build_gradients(split.front, _logits_model(classifier, split.rest))

    def maps(self, images: NDArray[np.uint8], classes: NDArray[np.integer]) -> Floats:
        """Return a map for each image: where does the classifier see what speaks for the class?

        images: uint8 [N, S, S, 3], also a memory map; S is the size of the classifier. classes:
        int [N], class indices. Returns float32 [N, S, S], from 0 to 1. The highest value of a map
        is 1, so maps of two images cannot be compared in strength. If nothing in the image speaks
        for the class, all values are 0.
        """
        parts = [
            self._part(np.asarray(images[start : start + BATCH]), classes[start : start + BATCH])
            for start in range(0, len(images), BATCH)
        ]
        size = self.classifier.size
        return np.concatenate([np.empty((0, size, size), np.float32), *parts])

    # With five views, the network gets 5 * BATCH images at once.
    def _part(self, images: NDArray[np.uint8], classes: NDArray[np.integer]) -> Floats:
        views = images if self._views is None else np.asarray(self._views(images))
        maps, gradients = self._compute(views, np.tile(classes, len(self._places)))
        weights = gradients.mean(axis=(1, 2), keepdims=True)
        evidence = (weights * maps).sum(axis=-1)
        by_view = evidence.reshape(len(self._places), len(images), *self.grid)
        return _scale(_average(by_view, self._places, self.classifier.size))


def check_parts(classifier: Classifier) -> None:
    """Raise UserError if a network does not have the layers `backbone` and `logits`."""
    names = {layer.name for layer in classifier.model.layers}
    if not names >= {"backbone", "logits"}:
        raise UserError(
            "an explanation needs a network with the layers `backbone` and `logits`, as Fovea "
            "builds it; use a model that was trained here. "
            f"Received: the layers {', '.join(sorted(names))}"
        )


def enlarge(values: NDArray[np.floating], place: Place, size: int) -> Floats:
    """Return values on a grid as values of the pixels of an image, by bilinear interpolation.

    values: float [N, h, w], the values on a grid over a view of N images. place: the place of the
    view in the image. size: the side S of the image. Returns float32 [N, S, S]; outside of the
    place, all values are 0.

    >>> enlarge(np.array([[[0.0, 1.0]]]), Place(0, 0, 4, mirrored=True), 4)[0, 0].tolist()
    [1.0, 0.75, 0.25, 0.0]
    """
    height, width = values.shape[1:]
    rows = _interpolation(height, place.top, place.side, size)
    columns = _interpolation(width, place.left, place.side, size)
    if place.mirrored:
        columns = columns[::-1]
    return (rows @ values @ columns.T).astype(np.float32)


def _interpolation(count: int, start: int, side: int, size: int) -> NDArray[np.float64]:
    """Return how much each of `count` cells of a line counts for each pixel, float [size, count].

    The cells cover `side` pixels from `start` on. Pixels beyond the centre of the first or the last
    cell have the value of this cell.
    """
    pixels = np.arange(size) - start
    positions = (pixels + 0.5) * count / side - 0.5
    weights = [np.interp(positions, np.arange(count), cell) for cell in np.eye(count)]
    inside = (pixels >= 0) & (pixels < side)
    return np.where(inside[:, np.newaxis], np.stack(weights, axis=1), 0.0)


def _average(by_view: Floats, places: Sequence[Place], size: int) -> Floats:
    """Return the mean over the views, in the image: [V, N, h, w] → float32 [N, size, size]."""
    made = [enlarge(values, place, size) for values, place in zip(by_view, places, strict=True)]
    mean: Floats = np.mean(made, axis=0)
    return mean


def _scale(evidence: Floats) -> Floats:
    positive = np.maximum(evidence, 0)
    highest = positive.max(axis=(1, 2), keepdims=True)
    scaled: Floats = np.divide(positive, highest, out=np.zeros_like(positive), where=highest > 0)
    return scaled


def _views_model(classifier: Classifier) -> Any:
    """Return a keras.Model from images to their views, which follow each other in the batch."""
    import keras

    network = classifier.model
    return keras.Model(network.inputs[0], network.get_layer("views").output)


def _logits_model(classifier: Classifier, rest: Any) -> Any:
    """Return a keras.Model from the maps to the logits of one view."""
    import keras

    logits = call_in_turn(head_layers(classifier.model), rest.outputs[0])
    return keras.Model(rest.inputs[0], logits)
