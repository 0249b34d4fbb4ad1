"""A classifier and images → does masking what Grad-CAM marks cost more than masking at random?

The deletion test says whether the maps of a classifier mean something. In each image, the share of
the pixels that the map of the predicted class marks most is filled with the mean colour of the
image, and the fall of the probability of the class is measured. For comparison, as many pixels are
filled at random places. They are chosen in the same way as the marked ones: by random numbers on
the grid of the map, enlarged to the image (regions, as in Samek et al., 2017). Single random pixels
would be no fair comparison, because a speckled image is strange to every network.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.calibration.averaged_views import Place
from components.explanation.grad_cam import GradCam, enlarge
from components.model.backend import PREDICTION_BATCH
from components.model.classifier import Classifier, predict

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]
DRAWS = 4  # random masks of an image, whose falls are averaged


@dataclass(frozen=True)
class Mean:
    """The mean over the images, and the two ends of its t interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class DeletionTest:
    """How much the probability of the predicted class falls if pixels are masked.

    images: the number of images. share: the share of the pixels that are masked, 0 to 1. marked:
    the fall (probability before - after) with the pixels that Grad-CAM marks most. random: with as
    many pixels at random places. difference: marked - random, of the same image. If its interval is
    above 0, the maps show what the classifier needs.
    """

    images: int
    share: float
    marked: Mean
    random: Mean
    difference: Mean


def deletion_test(
    classifier: Classifier, images: Images, share: float, seed: int, confidence: float = 0.95
) -> DeletionTest:
    """Mask the marked pixels and random ones of each image, and compare what this costs.

    images: uint8 [N, S, S, 3], N > 1, also a memory map. share: the share of the pixels to mask,
    above 0 and below 1. seed: of the random places. confidence: the level of the intervals. A
    Grad-CAM and 2 + DRAWS predictions are computed for each image; at most PREDICTION_BATCH images
    are in memory. Raises UserError in the same cases as `GradCam`.
    """
    grad_cam = GradCam(classifier)
    generator = np.random.default_rng(seed)
    falls = [
        _falls(classifier, grad_cam, np.asarray(part), share, generator) for part in _parts(images)
    ]
    marked, random = np.concatenate(falls, axis=1)
    pairs = (marked, random, marked - random)
    return DeletionTest(len(marked), share, *(_mean(values, confidence) for values in pairs))


def mask(images: Images, values: NDArray[np.floating], share: float) -> Images:
    """Return the images with the mean colour of each in the pixels with the highest values.

    images: uint8 [N, S, S, 3]. values: float [N, S, S]. share: the share of the pixels to fill. Of
    equal values, those further up and left are filled first.
    """
    count = round(share * values[0].size)
    order = np.argsort(-values.reshape(len(values), -1), axis=1, kind="stable")[:, :count]
    masked = images.reshape(len(images), -1, 3).copy()
    colours = masked.mean(axis=1).round().astype(np.uint8)
    masked[np.arange(len(images))[:, np.newaxis], order] = colours[:, np.newaxis]
    return masked.reshape(images.shape)


def _parts(images: Images) -> Iterator[Images]:
    for start in range(0, len(images), PREDICTION_BATCH):
        yield images[start : start + PREDICTION_BATCH]


def _falls(
    classifier: Classifier,
    grad_cam: GradCam,
    images: Images,
    share: float,
    generator: np.random.Generator,
) -> Floats:
    """Return the falls with the marked pixels, and with random ones, float32 [2, N]."""
    rows, size = np.arange(len(images)), classifier.size
    before = predict(classifier, images)
    classes = before.argmax(axis=1)

    def fall(values: NDArray[np.floating]) -> Floats:
        after = predict(classifier, mask(images, values, share))
        difference: Floats = before[rows, classes] - after[rows, classes]
        return difference

    def random_values() -> Floats:
        cells = generator.random((len(images), *grad_cam.grid))
        return enlarge(cells, Place(0, 0, size), size)

    # Where a map is 0, random values decide, and not the order of the pixels.
    maps = grad_cam.maps(images, classes) + 1e-6 * random_values()
    return np.stack([fall(maps), np.mean([fall(random_values()) for _ in range(DRAWS)], axis=0)])


def _mean(values: Floats, confidence: float) -> Mean:
    from scipy.stats import t

    half = float(values.std(ddof=1)) / len(values) ** 0.5
    half *= float(t.ppf((1 + confidence) / 2, len(values) - 1))
    mean = float(values.mean())
    return Mean(mean, mean - half, mean + half)
