"""Luma (grey values) of a picture → its fingerprint; two fingerprints → the pictures' similarity.

This module guarantees that equal luma gives equal fingerprints, byte for byte. The similarity that
`compare` returns is 1 for equal fingerprints. The similarity is close to 1 if one picture is a copy
of the other picture, and the copy was recompressed, resized, made darker or brighter, mirrored, or
rotated by any angle. The tests in tests/components/duplicates state how many of these copies are
recognised. No fingerprint is made for a picture that is too small or has too little texture, such
as a blank page. The fingerprints of two small or blank pictures would be similar by chance.

How a fingerprint is made:

1. The central square is resized to 48 × 48.
2. Only the largest disc inside the square is used, because the corners of the square change when a
   picture is rotated. A band-pass filter is applied to the disc: the difference of two Gaussian
   blurs (Marr and Hildreth, 1980). The filter removes slow changes of brightness, because they make
   different pictures similar. The filter also removes the finest details, because JPEG loses them.
   The blurs use no pixels outside the disc (normalised convolution, Knutsson and Westin, 1993).
3. The disc is sampled on 12 concentric rings, at 64 angles per ring. So rotating the picture shifts
   the samples along the rings, and mirroring the picture reverses the order of the samples.
4. A power law (Perronnin et al., 2010) reduces large values. Without the power law, a single strong
   edge would dominate the similarity, and many different pictures have a similar strong edge.

How two fingerprints are compared: the samples of one fingerprint are shifted along the rings, and
the normalised correlation with the other fingerprint is computed for each shift. The similarity is
the highest correlation. The shift with this correlation is the angle of the rotation. Mirrored
pictures are compared by reversing the order of the samples. Fourier transforms along
the rings give the correlations at all shifts at once (Casasent and Psaltis, 1976). The magnitudes
of a Fourier transform do not depend on the shift. The module duplicates.hashing uses the magnitudes
to select the pairs of pictures that are compared.

An example with three pictures `a`, `b` and `c`: picture `b` is picture `a`, rotated by 90 degrees.
Picture `c` is a different picture. The comparison of `a` with `b` gives a similarity of about 1 at
90 degrees, not mirrored. The comparison of `a` with `c` also tries all angles and returns the
highest similarity, but this similarity is far below 1.
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
POWER = 0.6  # the exponent of the power law
SMALLEST_SIDE = 16  # pixels; smaller pictures are similar to other pictures by chance
# In grey levels. If the root mean square of the samples after the band-pass filter is lower, the
# picture has only noise.
LEAST_TEXTURE = 0.25
UPSAMPLED = 2  # computed shifts per sampled angle: 64 angles give 128 shifts
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
    """Return the x and the y coordinates of all samples, in grid points.

    Both arrays are float32 [RINGS, ANGLES].
    """
    radius = ((np.arange(RINGS) + 0.5) / RINGS * (GRID / 2 - 1))[:, None]
    angle = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    centre = (GRID - 1) / 2
    x, y = centre + radius * np.cos(angle), centre + radius * np.sin(angle)
    return x.astype(np.float32), y.astype(np.float32)


DISC = _disc()
FINE_SHARE, COARSE_SHARE = (np.maximum(_blur(DISC, s), 1e-3) for s in (FINE, COARSE))
RING_X, RING_Y = _rings()
AREAS = ((np.arange(RINGS, dtype=np.float32) + 0.5) / RINGS)[:, None]  # relative areas of samples


def fingerprint(luma: NDArray[np.uint8]) -> bytes | None:
    """Return the fingerprint of a picture. None if the picture is too small or has little texture.

    luma: the luma of the picture, uint8 [H, W].

    The fingerprint consists of the BYTES bytes of an int8 array [RINGS, ANGLES]. The values are
    scaled so that the largest magnitude is 127.
    """
    height, width = luma.shape
    side = min(height, width)
    if side < SMALLEST_SIDE:
        return None
    top, left = (height - side) // 2, (width - side) // 2
    square = luma[top : top + side, left : left + side]
    small = cv2.resize(square, (GRID, GRID), interpolation=cv2.INTER_AREA)
    disc = small.astype(np.float32) * DISC
    band = _blur(disc, FINE) / FINE_SHARE - _blur(disc, COARSE) / COARSE_SHARE
    samples = cv2.remap(band, RING_X, RING_Y, cv2.INTER_LINEAR)
    if float(np.vdot(samples, samples)) < BYTES * LEAST_TEXTURE**2:  # for example, a blank page
        return None
    samples = np.copysign(np.abs(samples) ** POWER, samples)
    whole = np.rint(samples * (127 / np.abs(samples).max())).astype(np.int8)
    return bytes(whole.tobytes())


def stack(fingerprints: Iterable[bytes]) -> NDArray[np.int8]:
    """Return N fingerprints as an array, int8 [N, RINGS, ANGLES]."""
    return np.frombuffer(b"".join(fingerprints), np.int8).reshape(-1, RINGS, ANGLES)


def spectra(samples: NDArray[np.int8]) -> NDArray[np.complex64]:
    """Return the Fourier transforms along the rings, complex64 [N, RINGS, ANGLES / 2 + 1].

    samples: N fingerprints, int8 [N, RINGS, ANGLES].

    Before the transform, the values of a fingerprint are shifted to mean 0 and scaled to norm 1. A
    sample of an outer ring has a larger weight, because the sample covers a larger area of the
    picture.
    """
    values = samples.astype(np.float32)
    values -= (values * AREAS).sum((1, 2), keepdims=True) / (AREAS.sum() * ANGLES)
    values *= np.sqrt(AREAS)
    values /= np.maximum(np.sqrt((values**2).sum((1, 2), keepdims=True)), 1e-6)
    transformed: NDArray[np.complex64] = np.fft.rfft(values).astype(np.complex64)
    return transformed


@dataclass(frozen=True, eq=False)
class Similarities:
    """The result of a comparison of N pairs of pictures. A pair has a first and a second picture.

    similarity: the similarity of the two pictures, float64 [N], at most 1.
    degrees: the clockwise angle by which the second picture is rotated relative to the first,
    float64 [N], from 0 to below 360.
    mirrored: whether the second picture was also mirrored left to right before the rotation,
    bool [N].
    """

    similarity: NDArray[np.float64]
    degrees: NDArray[np.float64]
    mirrored: NDArray[np.bool_]


def compare(
    first: NDArray[np.complex64], second: NDArray[np.complex64], turned: bool
) -> Similarities:
    """Compare N pairs of pictures. Returns the rotation with the highest similarity of each pair.

    first, second: the spectra of the first and of the second pictures, complex64 [N, RINGS,
    ANGLES / 2 + 1].
    turned: whether the second picture may be mirrored, or rotated by any angle. If False, only
    rotations of at most UPRIGHT_DEGREES are tried, without mirroring.
    """
    straight = _correlations(np.conj(first) * second)
    if not turned:
        return _best(straight, _upright(straight.shape[1]))
    # Reversing a ring conjugates its spectrum. So the product without `np.conj` compares the second
    # picture with the mirror image of the first picture.
    plain, reversed_ = _best(straight), _best(_correlations(first * second))
    # The margin 1e-4 is for symmetric pictures. A symmetric picture equals its mirror image, so the
    # similarities of `plain` and `reversed_` differ only by rounding. Because of the margin, the
    # result is then "not mirrored".
    mirrored = reversed_.similarity > plain.similarity + 1e-4
    return Similarities(
        np.where(mirrored, reversed_.similarity, plain.similarity),
        # Reversing the rings flips the picture top to bottom. The same picture results from
        # mirroring left to right and rotating by 180 degrees.
        np.where(mirrored, (reversed_.degrees + 180) % 360, plain.degrees),
        mirrored,
    )


def _correlations(products: NDArray[np.complex64]) -> NDArray[np.float64]:
    """Return the correlation of each pair at every shift, float64 [N, ANGLES * UPSAMPLED].

    products: the products of two spectra, complex64 [N, RINGS, ANGLES / 2 + 1].
    """
    shifts = ANGLES * UPSAMPLED
    correlations: NDArray[np.float64] = np.fft.irfft(products.sum(1), n=shifts) * UPSAMPLED
    return correlations


def _upright(shifts: int) -> NDArray[np.bool_]:
    """Return whether each shift is a rotation of at most UPRIGHT_DEGREES, bool [shifts].

    shifts: the number of shifts in a full rotation of 360 degrees.
    """
    degrees = np.arange(shifts) * (360 / shifts)
    upright: NDArray[np.bool_] = np.minimum(degrees, 360 - degrees) <= UPRIGHT_DEGREES
    return upright


def _best(
    correlations: NDArray[np.float64], among: NDArray[np.bool_] | None = None
) -> Similarities:
    """Return the highest correlation of each pair and the angle of this correlation.

    correlations: the correlations of N pairs at every shift, float64 [N, shifts].
    among: the mask of the shifts that may be used, bool [shifts]. If None, all shifts are used.
    """
    if among is not None:
        correlations = np.where(among, correlations, -1.0)
    at = correlations.argmax(axis=1)
    similarity = correlations[np.arange(len(at)), at].astype(np.float64)
    degrees = at * (360 / correlations.shape[1])
    return Similarities(similarity.clip(-1, 1).round(4), degrees, np.zeros(len(at), np.bool_))
