"""Luma → a fingerprint by which copies of a picture are found.

Guaranteed: equal luma gives equal bytes. `compare` gives 1 for equal fingerprints, and stays close
to 1 for copies that were recompressed, resized, made darker or brighter, mirrored or turned by any
angle; tests/components/duplicates holds the shares that are found. A picture that is too small or
too flat has no fingerprint, since chance would make it look like others.

How it is made. The central square becomes 48 × 48, and its disc is sampled on 12 rings at 64
angles. So a turn of the picture is a shift along the rings, and a mirror image is the rings in
reverse. Before that the luma is band-passed (a difference of Gaussians, Marr and Hildreth, 1980):
that removes light and shade, in which unlike pictures look alike, and the finest grain, which a
JPEG loses. Both blurs are normalised convolutions over the disc (Knutsson and Westin, 1993), so
that the corners, which change when a picture is turned, do not count. A power law (Perronnin et
al., 2010) then makes texture count more against the one strong edge that many pictures share.

How two are compared. By their normalised correlation at all shifts at once, through the Fourier
transform along each ring (Casasent and Psaltis, 1976). The magnitudes of that transform are the
same at every shift: duplicates.hashing uses them to find the pairs that are worth comparing.

With three pictures, a, b (a turned by 90 degrees) and c (another one): compare(a, b) is about 1 at
90 degrees, not mirrored; compare(a, c) is far below, at whatever angle happens to be best.
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
SMALLEST_SIDE = 16  # pixels; below it unlike pictures look alike by chance
LEAST_TEXTURE = 0.25  # grey levels, root mean square; below it there is only noise to compare
UPSAMPLED = 2  # the correlation is computed between the angles, too: at 128 shifts
UPRIGHT_DEGREES = 10.0  # a picture that is turned by less counts as not turned


def _disc() -> Floats:
    """Return float32 [GRID, GRID]: 1 inside the largest disc, 0 in the corners."""
    centre = (GRID - 1) / 2
    down, right = np.mgrid[:GRID, :GRID] - centre
    inside: Floats = (np.hypot(down, right) <= GRID / 2).astype(np.float32)
    return inside


def _blur(values: Floats, sigma: float) -> Floats:
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
FINE_SHARE, COARSE_SHARE = (np.maximum(_blur(DISC, s), 1e-3) for s in (FINE, COARSE))
RING_X, RING_Y = _rings()
AREAS = ((np.arange(RINGS, dtype=np.float32) + 0.5) / RINGS)[:, None]  # of a sample, by ring


def fingerprint(luma: NDArray[np.uint8]) -> bytes | None:
    """Return the fingerprint of a luma, uint8 [H, W]: BYTES bytes, int8 [RINGS, ANGLES].

    They are scaled so that the largest is 127. None where the picture is too small or too flat.
    """
    height, width = luma.shape
    side = min(height, width)
    if side < SMALLEST_SIDE:  # a tiny picture
        return None
    top, left = (height - side) // 2, (width - side) // 2
    square = luma[top : top + side, left : left + side]
    small = cv2.resize(square, (GRID, GRID), interpolation=cv2.INTER_AREA)
    disc = small.astype(np.float32) * DISC
    band = _blur(disc, FINE) / FINE_SHARE - _blur(disc, COARSE) / COARSE_SHARE
    samples = cv2.remap(band, RING_X, RING_Y, cv2.INTER_LINEAR)
    if float(np.vdot(samples, samples)) < BYTES * LEAST_TEXTURE**2:  # a plain wall, a blank page
        return None
    samples = np.copysign(np.abs(samples) ** POWER, samples)
    whole = np.rint(samples * (127 / np.abs(samples).max())).astype(np.int8)
    return bytes(whole.tobytes())


def stack(fingerprints: Iterable[bytes]) -> NDArray[np.int8]:
    """Return int8 [N, RINGS, ANGLES] of N fingerprints."""
    return np.frombuffer(b"".join(fingerprints), np.int8).reshape(-1, RINGS, ANGLES)


def spectra(samples: NDArray[np.int8]) -> NDArray[np.complex64]:
    """Return complex64 [N, RINGS, ANGLES / 2 + 1]: transforms of samples of mean 0 and norm 1.

    samples: int8 [N, RINGS, ANGLES]. Those of an outer ring count more, as each covers more area.
    """
    values = samples.astype(np.float32)
    values -= (values * AREAS).sum((1, 2), keepdims=True) / (AREAS.sum() * ANGLES)
    values *= np.sqrt(AREAS)
    values /= np.maximum(np.sqrt((values**2).sum((1, 2), keepdims=True)), 1e-6)
    transformed: NDArray[np.complex64] = np.fft.rfft(values).astype(np.complex64)
    return transformed


@dataclass(frozen=True, eq=False)
class Similarities:
    """How alike the pictures of N pairs are, and how the second is turned against the first.

    similarity: up to 1. degrees: by how much the second is turned clockwise; a mirrored one is
    mirrored left to right first.
    """

    similarity: NDArray[np.float64]
    degrees: NDArray[np.float64]
    mirrored: NDArray[np.bool_]


def compare(
    first: NDArray[np.complex64], second: NDArray[np.complex64], turned: bool
) -> Similarities:
    """Compare spectra pair by pair at their best alignment.

    turned: compare at every angle, and mirrored; else at UPRIGHT_DEGREES at most, not mirrored.
    """
    straight = _correlations(np.conj(first) * second)
    if not turned:
        return _best(straight, _upright(straight.shape[1]))
    # Reversed rings have the conjugate spectrum, so without conj this compares the mirror image.
    plain, reversed_ = _best(straight), _best(_correlations(first * second))
    mirrored = reversed_.similarity > plain.similarity + 1e-4  # a symmetric picture is not mirrored
    return Similarities(
        np.where(mirrored, reversed_.similarity, plain.similarity),
        # Reversed rings are the picture flipped top to bottom: mirrored, and turned by 180 degrees.
        np.where(mirrored, (reversed_.degrees + 180) % 360, plain.degrees),
        mirrored,
    )


def _correlations(products: NDArray[np.complex64]) -> NDArray[np.float64]:
    """Return float64 [N, ANGLES * UPSAMPLED]: the correlation of each pair at every shift."""
    shifts = ANGLES * UPSAMPLED
    correlations: NDArray[np.float64] = np.fft.irfft(products.sum(1), n=shifts) * UPSAMPLED
    return correlations


def _upright(shifts: int) -> NDArray[np.bool_]:
    """Return bool [shifts]: whether a shift is a turn of at most UPRIGHT_DEGREES."""
    degrees = np.arange(shifts) * (360 / shifts)
    upright: NDArray[np.bool_] = np.minimum(degrees, 360 - degrees) <= UPRIGHT_DEGREES
    return upright


def _best(
    correlations: NDArray[np.float64], among: NDArray[np.bool_] | None = None
) -> Similarities:
    """Return the highest correlation of each pair, and its angle; only shifts `among`, if given."""
    if among is not None:
        correlations = np.where(among, correlations, -1.0)
    at = correlations.argmax(axis=1)
    similarity = correlations[np.arange(len(at)), at].astype(np.float64)
    degrees = at * (360 / correlations.shape[1])
    return Similarities(similarity.clip(-1, 1).round(4), degrees, np.zeros(len(at), np.bool_))
