"""Fingerprints of test and training images → how similar each test image is to a training image.

No test image is a near copy of a training image: the stage `split` sees to that. But some are more
similar than others, for example photographs of the same thing from two sides. A model that has
learned its training images by heart is better on them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.evaluation.interval import Floats
from components.images.fingerprints import spectra, stack

# The maximum number of compared pairs. They take about 10 s on two cores. If there are more pairs,
# every n-th training image is used.
MOST_PAIRS = 200_000_000
CELLS = 8_000_000  # pairs whose similarities are in memory at once
DIGITS = 4  # processors differ in the later ones


def training_similarity(
    test: Sequence[bytes | None], training: Sequence[bytes | None]
) -> NDArray[np.float64]:
    """Return the similarity of each test image to the most similar training image: float64 [N].

    test, training: fingerprints (see images/fingerprints.py); None if an image has none, because it
    is too small or has too little texture. The similarity is the correlation of the fingerprints
    without a rotation, at most 1. It is NaN for an image without fingerprint, and for all images if
    no training image has one.
    """
    similarity = np.full(len(test), np.nan)
    known = np.array([each is not None for each in test], bool)
    others = [each for each in training if each is not None]
    if not known.any() or not others:
        return similarity
    step = training_step(int(known.sum()), len(others))
    references = _vectors(others[::step])
    images = _vectors([each for each in test if each is not None])
    rows = max(1, CELLS // len(references))
    highest = [
        (images[start : start + rows] @ references.T).max(axis=1)
        for start in range(0, len(images), rows)
    ]
    similarity[known] = np.concatenate(highest).astype(np.float64).round(DIGITS)
    return similarity


def training_step(test: int, training: int) -> int:
    """Return n if every n-th training image is compared with the test images.

    >>> training_step(380, 1_767), training_step(20_000, 100_000)
    (1, 10)
    """
    return max(1, -(-test * training // MOST_PAIRS))


def _vectors(fingerprints: Sequence[bytes]) -> Floats:
    """Return fingerprints as vectors of mean 0 and norm 1: float32 [N, RINGS * ANGLES].

    Their dot product is the similarity that images.fingerprints.compare finds without a rotation.
    """
    samples = np.fft.irfft(spectra(stack(fingerprints)))
    vectors: Floats = samples.reshape(len(samples), -1).astype(np.float32)
    return vectors
