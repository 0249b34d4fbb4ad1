"""Luma → a fingerprint that survives recompression, resizing, light, mirroring and any turn.

The picture's central disc is sampled on rings, so that a turn becomes a shift along the rings and
a mirror image their reversal. Two fingerprints are compared by their normalised correlation over
all shifts at once, through the Fourier transform along each ring (Casasent and Psaltis, 1976). The
magnitudes of that transform do not see a shift at all: they find what is worth comparing.

Before it is sampled the luma is band-passed (a difference of Gaussians, Marr and Hildreth, 1980):
that drops light and shade, in which unlike pictures look alike, and the finest grain, which a
JPEG loses. Both blurs are normalised convolutions over the disc (Knutsson and Westin, 1993), so
that the corners, which a turn fills with something else, have no say. A power law (Perronnin et
al., 2010) then lifts texture against the one strong edge that many pictures share.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

GRID = 48  # the central square is brought to GRID × GRID before anything else
RINGS, ANGLES = 12, 64
BYTES = RINGS * ANGLES
FINE, COARSE = 0.7, 2.0  # standard deviations of the two blurs, in grid points
POWER = 0.6
SMALLEST_SIDE = 16  # pixels; below it chance makes unlike pictures alike
LEAST_TEXTURE = (
    0.25  # grey levels, root mean square; below it there is nothing to compare but noise
)
UPSAMPLED = 2  # correlation is read between the angles, too
UPRIGHT_DEGREES = 10.0  # a turn up to which a picture counts as not turned


def _disc() -> Floats:
    centre = (GRID - 1) / 2
    down, right = np.mgrid[:GRID, :GRID] - centre
    inside: Floats = (np.hypot(down, right) <= GRID / 2).astype(np.float32)
    return inside


def _blurred(values: Floats, sigma: float) -> Floats:
    blurred = cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(blurred, np.float32)


def _rings() -> tuple[Floats, Floats]:
    """Return x and y in the grid, float32 [RINGS, ANGLES], of every sample."""
    radius = ((np.arange(RINGS) + 0.5) / RINGS * (GRID / 2 - 1))[:, None]
    angle = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    centre = (GRID - 1) / 2
    x, y = centre + radius * np.cos(angle), centre + radius * np.sin(angle)
    return x.astype(np.float32), y.astype(np.float32)


DISC = _disc()
FINE_SHARE, COARSE_SHARE = (np.maximum(_blurred(DISC, s), 1e-3) for s in (FINE, COARSE))
RING_X, RING_Y = _rings()
AREAS = ((np.arange(RINGS, dtype=np.float32) + 0.5) / RINGS)[:, None]  # of a sample, by ring


def fingerprint(luma: NDArray[np.uint8]) -> bytes | None:
    """Return BYTES bytes for a luma, uint8 [H, W], or None where there is too little to compare.

    They are int8 [RINGS, ANGLES], scaled so that the largest is 127.
    """
    height, width = luma.shape
    side = min(height, width)
    if side < SMALLEST_SIDE:
        return None
    top, left = (height - side) // 2, (width - side) // 2
    square = luma[top : top + side, left : left + side]
    small = cv2.resize(square, (GRID, GRID), interpolation=cv2.INTER_AREA)
    disc = small.astype(np.float32) * DISC
    passed = _blurred(disc, FINE) / FINE_SHARE - _blurred(disc, COARSE) / COARSE_SHARE
    samples = cv2.remap(passed, RING_X, RING_Y, cv2.INTER_LINEAR)
    if float(np.vdot(samples, samples)) < BYTES * LEAST_TEXTURE**2:
        return None
    samples = np.copysign(np.abs(samples) ** POWER, samples)
    whole = np.rint(samples * (127 / np.abs(samples).max())).astype(np.int8)
    return bytes(whole.tobytes())


def stacked(fingerprints: Iterable[bytes]) -> NDArray[np.int8]:
    """Return int8 [N, RINGS, ANGLES] of N fingerprints."""
    return np.frombuffer(b"".join(fingerprints), np.int8).reshape(-1, RINGS, ANGLES)


def spectra(samples: NDArray[np.int8]) -> NDArray[np.complex64]:
    """Return complex64 [N, RINGS, ANGLES / 2 + 1]: transforms of samples of mean 0 and norm 1.

    Samples count by the area that they stand for.
    """
    values = samples.astype(np.float32)
    values -= (values * AREAS).sum((1, 2), keepdims=True) / (AREAS.sum() * ANGLES)
    values *= np.sqrt(AREAS)
    values /= np.maximum(np.sqrt((values**2).sum((1, 2), keepdims=True)), 1e-6)
    transformed: NDArray[np.complex64] = np.fft.rfft(values).astype(np.complex64)
    return transformed


@dataclass(frozen=True, eq=False)
class Similarities:
    """Of N pairs, how alike they are, and how the second is turned against the first.

    similarity: up to 1. degrees: clockwise, of the second after mirrored ones were mirrored
    left to right.
    """

    similarity: NDArray[np.float64]
    degrees: NDArray[np.float64]
    mirrored: NDArray[np.bool_]


def compare(
    first: NDArray[np.complex64], second: NDArray[np.complex64], turned: bool
) -> Similarities:
    """Compare spectra pair by pair at their best alignment.

    turned: look at every turn, mirrored or not; otherwise at turns of UPRIGHT_DEGREES at most.
    """
    straight = _correlations(np.conj(first) * second)
    if not turned:
        return _best(straight, _upright(straight.shape[1]))
    plain, reversed_ = _best(straight), _best(_correlations(first * second))
    mirrored = reversed_.similarity > plain.similarity + 1e-4  # a tie is no mirror image
    return Similarities(
        np.where(mirrored, reversed_.similarity, plain.similarity),
        # Reversed rings are a picture upside down, which is half a turn from left to right.
        np.where(mirrored, (reversed_.degrees + 180) % 360, plain.degrees),
        mirrored,
    )


def _correlations(products: NDArray[np.complex64]) -> NDArray[np.float64]:
    """Return the correlation at every shift, [N, shifts]; at steps finer than the samples'."""
    shifts = ANGLES * UPSAMPLED
    correlations: NDArray[np.float64] = np.fft.irfft(products.sum(1), n=shifts) * UPSAMPLED
    return correlations


def _upright(shifts: int) -> NDArray[np.bool_]:
    degrees = np.arange(shifts) * (360 / shifts)
    upright: NDArray[np.bool_] = np.minimum(degrees, 360 - degrees) <= UPRIGHT_DEGREES
    return upright


def _best(
    correlations: NDArray[np.float64], among: NDArray[np.bool_] | None = None
) -> Similarities:
    if among is not None:
        correlations = np.where(among, correlations, -1.0)
    at = correlations.argmax(axis=1)
    similarity = correlations[np.arange(len(at)), at].astype(np.float64)
    degrees = at * (360 / correlations.shape[1])
    return Similarities(similarity.clip(-1, 1).round(4), degrees, np.zeros(len(at), np.bool_))
