"""Decoded pixels → nine numbers on how the picture looks; thresholds on them are in params.yaml.

They are measured once, while the pixels are in memory, so that a threshold moves without reading an
image again. Each is measured at the size that keeps its meaning and bounds its cost:

- Facts that are shares of pixels: on every n-th pixel of every n-th row, without filtering, since a
  sample has the distribution of the whole picture and an average does not. At most 2^17 pixels of
  luma, 2^12 of colour and border.
- Sharpness: with the longer side at 128 pixels, so that it is the same for a picture that is saved
  at another resolution; a smaller picture is measured as it is.

Counts are of whole numbers, so all processors give the same facts.
"""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

LUMA_PX = 2**17
COLOUR_PX = 2**12
# Measured on 633 photographs, with a threshold that finds 99 % of their blurred copies (Gaussian,
# 1/64 of the side): at 64 pixels 2 % of the sharp ones count as blurred, at 128 pixels 0.2 %. At
# 256 noise looks like edges: 12 %, as soon as the blurred copies have some noise.
SHARPNESS_SIDE_PX = 128
MIN_RANGE = 4  # grey levels; a flatter picture has noise instead of edges
FRAME_TOLERANCE = 5  # grey levels in each channel; what JPEG does to one colour
LEVELS = np.arange(256.0)
POWERS = np.stack([LEVELS, LEVELS**2], axis=1)


def luma_of(pixels: Pixels) -> NDArray[np.uint8]:
    """Return the luma (Rec. 601), uint8 [H, W], of uint8 [H, W, 3] RGB."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def measure(pixels: Pixels, luma: NDArray[np.uint8]) -> dict[str, float]:
    """Return the nine facts of an image, uint8 [H, W, 3] RGB, each rounded to 6 digits.

    luma: of the same pixels, as `luma_of` gives it.

    brightness, brightness_p1, brightness_p99: mean and percentiles of the luma (Rec. 601), 0–1.
    contrast: standard deviation of the luma, 0–0.5. entropy: of its histogram, 0–8 bits a pixel.
    saturation: mean S of HSV, 0–1. aspect: width / height.
    sharpness: the strongest 1 % of its edges, divided by its contrast; see `_sharpness`.
    border_share: share of the area in a frame of one colour; 1 for a picture of one colour.
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
    """Return every n-th pixel of every n-th row, with n so large that at most `most` are left."""
    height, width = pixels.shape[:2]
    step = math.isqrt((height * width - 1) // most) + 1
    if step == 1:
        return pixels
    size = (max(1, width // step), max(1, height // step))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST)


def _counts(levels: NDArray[Any], bins: int) -> NDArray[np.float64]:
    """Count whole numbers 0 to bins - 1, exactly."""
    return cv2.calcHist([levels], [0], None, [bins], [0, bins]).ravel().astype(np.float64)


def _percentiles(counts: NDArray[np.float64], shares: list[float]) -> list[int]:
    """Return for each share the smallest level up to which at least that share of pixels is."""
    upto = counts.cumsum()
    levels: list[int] = upto.searchsorted([share * upto[-1] for share in shares]).tolist()
    return levels


def _sharpness(luma: NDArray[Any], luma_range: int) -> float:
    """Return the 99th percentile of the absolute Laplacian, divided by the luma's range.

    luma_range: between the 1st and 99th percentile, in grey levels.

    The Laplacian measures focus (Pech-Pacheco et al., 2000). A percentile instead of the variance,
    since a sharp object before a plain wall is sharp; divided by the range, since a dark picture is
    not a blurred one.
    """
    edges = np.abs(cv2.Laplacian(_reduce(luma), cv2.CV_16S)).ravel()
    at = math.ceil(0.99 * len(edges)) - 1
    return float(np.partition(edges, at)[at]) / max(luma_range, MIN_RANGE)


def _reduce(luma: NDArray[Any]) -> NDArray[Any]:
    """Average to a longer side of SHARPNESS_SIDE_PX; smaller pictures are not enlarged."""
    height, width = luma.shape
    scale = SHARPNESS_SIDE_PX / max(height, width)
    if scale >= 1:
        return luma
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(luma, size, interpolation=cv2.INTER_AREA)


def _border_share(pixels: NDArray[Any]) -> float:
    """Return the share of the area outside the smallest box that holds every other colour.

    "Other" than that of the first pixel, or of the last one: a bar or frame of one colour always
    has one of the two.
    """
    height, width, _ = pixels.shape
    shares: list[float] = []
    for corner in (pixels[0, 0].tolist(), pixels[-1, -1].tolist()):
        low, high = ([c + by for c in corner] for by in (-FRAME_TOLERANCE, FRAME_TOLERANCE))
        within = cv2.inRange(pixels, tuple(low), tuple(high))
        _, _, inner_width, inner_height = cv2.boundingRect(cv2.bitwise_not(within))
        shares.append(1 - inner_width * inner_height / (width * height))
    return max(shares)
