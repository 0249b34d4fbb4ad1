"""Decoded pixels → nine numbers (facts) that describe how the picture looks.

The thresholds for these facts are in params.yaml. The facts are measured once, while the pixels are
in memory. So a threshold can be changed without reading the images again. To limit the cost, a fact
is not measured on all pixels:

- All facts but sharpness and aspect use every n-th pixel of every n-th row. Pixels are left out
  instead of averaged, because averaging changes the distribution of the values. At most 2^17 pixels
  are used for the luma, and at most 2^12 for saturation and border_share.
- Sharpness is measured after the longer side was reduced to 128 pixels. So it does not depend on
  the resolution at which a picture is saved. A smaller picture is not enlarged.

Pixels are counted in integers, so all processors give the same facts.
"""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

LUMA_PX = 2**17
COLOUR_PX = 2**12
# Chosen on 633 photographs and their blurred copies (Gaussian, 1/64 of the side). With a threshold
# that finds 99 % of the blurred copies, 2 % of the sharp photographs count as blurred at 64 pixels,
# and 0.2 % at 128 pixels. At 256 pixels it is 12 % if the blurred copies have some noise, because
# the noise looks like edges.
SHARPNESS_SIDE_PX = 128
MIN_RANGE = 4  # grey levels; a picture with a smaller range has noise instead of edges
FRAME_TOLERANCE = 5  # grey levels per channel; JPEG changes a uniform colour by up to this
LEVELS = np.arange(256.0)
POWERS = np.stack([LEVELS, LEVELS**2], axis=1)


def luma_of(pixels: Pixels) -> NDArray[np.uint8]:
    """Return the luma (Rec. 601) of RGB pixels: uint8 [H, W, 3] → uint8 [H, W]."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def measure(pixels: Pixels, luma: NDArray[np.uint8]) -> dict[str, float]:
    """Return the nine facts of an image, uint8 [H, W, 3] RGB, each rounded to 6 digits.

    luma: the result of `luma_of` for the same pixels, uint8 [H, W].

    brightness, brightness_p1, brightness_p99: mean, 1st and 99th percentile of the luma, 0–1.
    contrast: standard deviation of the luma, 0–0.5.
    entropy: entropy of the histogram of the luma, 0–8 bits per pixel.
    saturation: mean S of HSV, 0–1.
    aspect: width / height.
    sharpness: strength of the strongest 1 % of edges, divided by the range of the luma.
    border_share: share of the area that is a border of one colour; 1 for a picture of one colour.
    """
    height, width, _ = pixels.shape
    luma = _sample(luma, LUMA_PX)
    colours = _sample(pixels, COLOUR_PX)
    counts = _counts(luma, 256)
    total = counts.sum()
    mean, mean_square = counts @ POWERS / total
    dark, bright = _percentiles(counts, [0.01, 0.99])
    facts = {
        "brightness": mean / 255,
        "brightness_p1": dark / 255,
        "brightness_p99": bright / 255,
        "contrast": math.sqrt(max(0.0, mean_square - mean**2)) / 255,
        "saturation": cv2.mean(cv2.cvtColor(colours, cv2.COLOR_RGB2HSV))[1] / 255,
        "entropy": math.log2(total) - counts @ np.log2(np.maximum(counts, 1)) / total,
        "sharpness": _sharpness(luma, bright - dark),
        "aspect": width / height,
        "border_share": _border_share(colours),
    }
    return {name: round(float(value), 6) + 0.0 for name, value in facts.items()}  # 0.0, not -0.0


def _sample(pixels: Pixels, most: int) -> NDArray[Any]:
    """Return every n-th pixel of every n-th row; n is the smallest that leaves at most `most`.

    Only a picture with fewer than n rows or columns may keep more pixels.
    """
    height, width = pixels.shape[:2]
    step = math.isqrt((height * width - 1) // most) + 1
    if step == 1:
        return pixels
    size = (max(1, width // step), max(1, height // step))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST)


def _counts(levels: NDArray[Any], bins: int) -> NDArray[np.float64]:
    """Return float64 [bins]: how often each integer from 0 to bins - 1 occurs, exactly."""
    return cv2.calcHist([levels], [0], None, [bins], [0, bins]).ravel().astype(np.float64)


def _percentiles(counts: NDArray[np.float64], shares: list[float]) -> list[int]:
    """Return, for each share, the lowest level that at least this share of pixels do not exceed."""
    upto = counts.cumsum()
    levels: list[int] = upto.searchsorted([share * upto[-1] for share in shares]).tolist()
    return levels


def _sharpness(luma: NDArray[Any], luma_range: int) -> float:
    """Return the 99th percentile of the absolute Laplacian, divided by `luma_range`.

    luma_range: difference between the 99th and the 1st percentile of the luma, in grey levels.

    The Laplacian measures focus (Pech-Pacheco et al., 2000). A percentile is used instead of the
    variance, because a sharp object in front of a plain wall is sharp. The result is divided by the
    range, because a dark picture is not a blurred picture.
    """
    edges = np.abs(cv2.Laplacian(_reduce(luma), cv2.CV_16S)).ravel()
    at = math.ceil(0.99 * len(edges)) - 1
    return float(np.partition(edges, at)[at]) / max(luma_range, MIN_RANGE)


def _reduce(luma: NDArray[Any]) -> NDArray[Any]:
    """Reduce the longer side to SHARPNESS_SIDE_PX by averaging. Smaller pictures stay unchanged."""
    height, width = luma.shape
    scale = SHARPNESS_SIDE_PX / max(height, width)
    if scale >= 1:
        return luma
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(luma, size, interpolation=cv2.INTER_AREA)


def _border_share(pixels: NDArray[Any]) -> float:
    """Return the share of the area that is a border of one colour.

    The border is everything outside the smallest box around all pixels of other colours. Its colour
    is that of the first pixel (top left) or of the last pixel (bottom right), because a border
    always contains one of these two. The larger of the two shares is returned.
    """
    height, width, _ = pixels.shape
    shares: list[float] = []
    for corner in (pixels[0, 0].tolist(), pixels[-1, -1].tolist()):
        low, high = ([c + by for c in corner] for by in (-FRAME_TOLERANCE, FRAME_TOLERANCE))
        within = cv2.inRange(pixels, tuple(low), tuple(high))
        _, _, inner_width, inner_height = cv2.boundingRect(cv2.bitwise_not(within))
        shares.append(1 - inner_width * inner_height / (width * height))
    return max(shares)
