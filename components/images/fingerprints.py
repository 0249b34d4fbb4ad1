"""Luma (grey values) of a picture → a fingerprint; copies of a picture have similar fingerprints.

This module guarantees: equal luma gives equal bytes. The similarity from `compare` is 1 for equal
fingerprints. It is close to 1 for copies that were recompressed, resized, made darker or brighter,
mirrored, or rotated by any angle. tests/components/duplicates states which share of such copies is
found. A picture that is too small or too flat has no fingerprint, because it would be similar to
other pictures by chance.

How a fingerprint is made:

1. The central square is resized to 48 × 48.
2. A band-pass filter is applied: the difference of two Gaussian blurs (Marr and Hildreth, 1980). It
   removes slow changes of brightness, which make different pictures similar, and the finest
   details, which JPEG loses. The corners of the square change when a picture is rotated. So only
   the largest disc in the square counts: the blurs are normalised convolutions over the disc
   (Knutsson and Westin, 1993).
3. The disc is sampled on 12 rings, at 64 angles. So a rotation of the picture is a shift along the
   rings, and mirroring reverses the rings.
4. A power law (Perronnin et al., 2010) reduces large values. So the texture counts more against
   one strong edge, which many pictures share.

How two fingerprints are compared: the Fourier transform along each ring gives the normalised
correlation at all shifts at once (Casasent and Psaltis, 1976). The magnitudes of the transform do
not depend on the shift. duplicates.hashing uses the magnitudes to find pairs worth comparing.

An example with three pictures: b is a, rotated by 90 degrees; c is a different picture. Then
compare(a, b) gives a similarity of about 1 at 90 degrees, not mirrored. compare(a, c) also
tries all angles and takes the best one, but the similarity is far below 1.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

GRID = 48  # the central square is first resized to GRID × GRID
RINGS, ANGLES = 12, 64
BYTES = RINGS * ANGLES
FINE, COARSE = 0.7, 2.0  # standard deviations of the two blurs, in grid points
POWER = 0.6
SMALLEST_SIDE = 16  # pixels; smaller pictures are similar to others by chance
LEAST_TEXTURE = 0.25  # grey levels (root mean square); below it, a picture has only noise
UPSAMPLED = 2  # correlations per angle: 64 angles give 128 shifts
UPRIGHT_DEGREES = 10.0  # a picture rotated by at most this angle counts as not rotated


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
    """Return x and y of all samples, in grid points; each float32 [RINGS, ANGLES]."""
    radius = ((np.arange(RINGS) + 0.5) / RINGS * (GRID / 2 - 1))[:, None]
    angle = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    centre = (GRID - 1) / 2
    x, y = centre + radius * np.cos(angle), centre + radius * np.sin(angle)
    return x.astype(np.float32), y.astype(np.float32)


DISC = _disc()
FINE_SHARE, COARSE_SHARE = (np.maximum(_blur(DISC, s), 1e-3) for s in (FINE, COARSE))
RING_X, RING_Y = _rings()
AREAS = ((np.arange(RINGS, dtype=np.float32) + 0.5) / RINGS)[:, None]  # relative area of a sample


def fingerprint(luma: NDArray[np.uint8]) -> bytes | None:
    """Return the fingerprint of a luma, uint8 [H, W], as BYTES bytes: int8 [RINGS, ANGLES].

    The values are scaled so that the largest magnitude is 127. Returns None if the picture is too
    small or too flat.
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
    """Return N fingerprints as an array, int8 [N, RINGS, ANGLES]."""
    return np.frombuffer(b"".join(fingerprints), np.int8).reshape(-1, RINGS, ANGLES)


def spectra(samples: NDArray[np.int8]) -> NDArray[np.complex64]:
    """Return the Fourier transforms along the rings, complex64 [N, RINGS, ANGLES / 2 + 1].

    samples: N fingerprints, int8 [N, RINGS, ANGLES]. Each fingerprint is first scaled to mean 0 and
    norm 1. A sample of an outer ring has a larger weight, because it covers a larger area.
    """
    values = samples.astype(np.float32)
    values -= (values * AREAS).sum((1, 2), keepdims=True) / (AREAS.sum() * ANGLES)
    values *= np.sqrt(AREAS)
    values /= np.maximum(np.sqrt((values**2).sum((1, 2), keepdims=True)), 1e-6)
    transformed: NDArray[np.complex64] = np.fft.rfft(values).astype(np.complex64)
    return transformed


@dataclass(frozen=True, eq=False)
class Similarities:
    """How similar the pictures of N pairs are, and how the second is rotated against the first.

    similarity: float64 [N], at most 1. degrees: float64 [N], the clockwise rotation of the second
    picture. mirrored: bool [N], whether it was also mirrored left to right, before the rotation.
    """

    similarity: NDArray[np.float64]
    degrees: NDArray[np.float64]
    mirrored: NDArray[np.bool_]


def compare(
    first: NDArray[np.complex64], second: NDArray[np.complex64], turned: bool
) -> Similarities:
    """Compare the spectra of N pairs; each pair at the alignment with the highest similarity.

    first, second: complex64 [N, RINGS, ANGLES / 2 + 1].
    turned: True compares at all angles, also mirrored. False compares at rotations of at most
    UPRIGHT_DEGREES, not mirrored.
    """
    straight = _correlations(np.conj(first) * second)
    if not turned:
        return _best(straight, _upright(straight.shape[1]))
    # Reversed rings have the conjugate spectrum. So leaving out conj compares the mirror image.
    plain, reversed_ = _best(straight), _best(_correlations(first * second))
    mirrored = reversed_.similarity > plain.similarity + 1e-4  # a symmetric picture is not mirrored
    return Similarities(
        np.where(mirrored, reversed_.similarity, plain.similarity),
        # Reversing the rings flips the picture top to bottom. This is the same as mirroring it left
        # to right and rotating it by 180 degrees.
        np.where(mirrored, (reversed_.degrees + 180) % 360, plain.degrees),
        mirrored,
    )


def _correlations(products: NDArray[np.complex64]) -> NDArray[np.float64]:
    """Return float64 [N, ANGLES * UPSAMPLED]: the correlation of each pair at every shift."""
    shifts = ANGLES * UPSAMPLED
    correlations: NDArray[np.float64] = np.fft.irfft(products.sum(1), n=shifts) * UPSAMPLED
    return correlations


def _upright(shifts: int) -> NDArray[np.bool_]:
    """Return bool [shifts]: whether the shift is a rotation of at most UPRIGHT_DEGREES."""
    degrees = np.arange(shifts) * (360 / shifts)
    upright: NDArray[np.bool_] = np.minimum(degrees, 360 - degrees) <= UPRIGHT_DEGREES
    return upright


def _best(
    correlations: NDArray[np.float64], among: NDArray[np.bool_] | None = None
) -> Similarities:
    """Return the highest correlation of each pair and its angle.

    correlations: float64 [N, shifts]. among: bool [shifts], the shifts to use; None uses all.
    """
    if among is not None:
        correlations = np.where(among, correlations, -1.0)
    at = correlations.argmax(axis=1)
    similarity = correlations[np.arange(len(at)), at].astype(np.float64)
    degrees = at * (360 / correlations.shape[1])
    return Similarities(similarity.clip(-1, 1).round(4), degrees, np.zeros(len(at), np.bool_))
