"""Decoded pixels → nine numbers (facts) that describe how the picture looks.

The thresholds for these facts are in params.yaml. The facts are measured once, while the pixels are
in memory. So a threshold can be changed without reading the images again. To limit the cost, the
facts of a large picture are not measured on all pixels:

- All facts except `aspect` use every n-th pixel of every n-th row. The pixels between are left out,
  not averaged, because averaging would change the distribution of the values.
  `saturation` and `border_share` use about 2^12 pixels. Brightness, contrast, entropy and sharpness
  use about 2^17 pixels.
- For `sharpness`, the smaller picture, which consists of the used pixels, is then reduced by
  averaging, until its longer side has 128 pixels. So the resolution at which a picture is saved has
  little influence on its sharpness. A picture whose longer side is below 128 pixels is not
  enlarged.

The pixels are counted as integers, so that all processors give the same facts.
"""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

LUMA_PX = 2**17  # the maximum number of pixels for the facts about the luma
COLOUR_PX = 2**12  # the maximum number of pixels for the facts about the colours
# The longer side of the picture on which sharpness is measured. Three values were compared on 633
# photographs and their blurred copies (Gaussian blur, 1/64 of the side). For each value, the
# threshold was chosen so that 99 % of the blurred copies count as blurred. With 64 pixels, 2 %
# of the sharp photographs also count as blurred. With 128 pixels, 0.2 % of the sharp photographs
# count as blurred. With 256 pixels, 12 % of the sharp photographs count as blurred if the blurred
# copies contain some noise, because noise looks like edges.
SHARPNESS_SIDE_PX = 128
MIN_RANGE = 4  # grey levels; a picture with a smaller range of luma has noise instead of edges
# A pixel has the colour of the border if no channel differs by more than this number of levels. The
# reason is that JPEG changes a uniform colour by up to this number of levels.
FRAME_TOLERANCE = 5
LEVELS = np.arange(256.0)
POWERS = np.stack([LEVELS, LEVELS**2], axis=1)


def luma_of(pixels: Pixels) -> NDArray[np.uint8]:
    """Return the luma (Rec. 601) of RGB pixels, uint8 [H, W].

    pixels: the RGB pixels, uint8 [H, W, 3].
    """
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def measure(pixels: Pixels, luma: NDArray[np.uint8]) -> dict[str, float]:
    """Return name → value of the nine facts of an image. The values are rounded to 6 digits.

    pixels: the RGB pixels of the image, uint8 [H, W, 3].
    luma: the result of `luma_of` for the same pixels, uint8 [H, W].

    The facts:

    - brightness, brightness_p1, brightness_p99: the mean, the 1st and the 99th percentile of the
      luma, from 0 to 1.
    - contrast: the standard deviation of the luma, from 0 to 0.5.
    - entropy: the entropy of the histogram of the luma, from 0 to 8 bits per pixel.
    - saturation: the mean saturation (S of HSV), from 0 to 1.
    - aspect: the width divided by the height.
    - sharpness: the 99th percentile of the strength of edges, divided by the range of the luma.
    - border_share: the share of the area that is a border of one colour. It is 1 if the whole
      picture has one colour.
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
    return {name: round(float(value), 6) + 0.0 for name, value in facts.items()}  # -0.0 → 0.0


def _sample(pixels: Pixels, most: int) -> NDArray[Any]:
    """Return about every n-th pixel of every n-th row, so that at most `most` pixels remain.

    pixels: the pixels of a picture, uint8 [H, W] or [H, W, 3].

    The step n is the smallest integer with H * W / n² ≤ `most`. If the picture has fewer than n
    rows or columns, one row or column remains, and more than `most` pixels may remain.
    """
    height, width = pixels.shape[:2]
    step = math.isqrt((height * width - 1) // most) + 1
    if step == 1:
        return pixels
    size = (max(1, width // step), max(1, height // step))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST)


def _counts(levels: NDArray[Any], bins: int) -> NDArray[np.float64]:
    """Return how often each integer from 0 to `bins` - 1 occurs in `levels`, float64 [bins]."""
    return cv2.calcHist([levels], [0], None, [bins], [0, bins]).ravel().astype(np.float64)


def _percentiles(counts: NDArray[np.float64], shares: list[float]) -> list[int]:
    """Return the percentiles of a histogram, as levels.

    counts: the number of pixels at each level, float64 [bins].
    shares: the percentiles to compute, from 0 to 1.

    For a share of 0.99, the result is the lowest level L with this property: at least 99 % of the
    pixels have the level L or a lower level.
    """
    upto = counts.cumsum()
    levels: list[int] = upto.searchsorted([share * upto[-1] for share in shares]).tolist()
    return levels


def _sharpness(luma: NDArray[Any], luma_range: int) -> float:
    """Return the 99th percentile of the absolute Laplacian, divided by `luma_range`.

    luma: the luma of the picture, uint8 [H, W].
    luma_range: the difference between the 99th and the 1st percentile of the luma, in grey levels.
    If the difference is smaller than MIN_RANGE, the divisor is MIN_RANGE.

    The Laplacian measures focus (Pech-Pacheco et al., 2000). The paper uses the variance of the
    Laplacian. Here a percentile is used, because the variance is low if a sharp object is in front
    of a plain wall. The percentile is divided by the range, because edges are weaker in a picture
    with low contrast, even if the picture is sharp.
    """
    edges = np.abs(cv2.Laplacian(_reduce(luma), cv2.CV_16S)).ravel()
    at = math.ceil(0.99 * len(edges)) - 1
    return float(np.partition(edges, at)[at]) / max(luma_range, MIN_RANGE)


def _reduce(luma: NDArray[Any]) -> NDArray[Any]:
    """Reduce the longer side to SHARPNESS_SIDE_PX by averaging. Do not enlarge a smaller picture.

    luma: the luma of the picture, uint8 [H, W].
    """
    height, width = luma.shape
    scale = SHARPNESS_SIDE_PX / max(height, width)
    if scale >= 1:
        return luma
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(luma, size, interpolation=cv2.INTER_AREA)


def _border_share(pixels: NDArray[Any]) -> float:
    """Return the share of the area that is a border of one colour, from 0 to 1.

    pixels: the RGB pixels, uint8 [H, W, 3].

    The border of a colour is everything outside the smallest box that contains all pixels of other
    colours. Two colours are tried: the colour of the top left pixel and the colour of the bottom
    right pixel. No other colour is possible. The reason is that a border contains at least one
    whole side of the picture, and each side contains one of these two pixels. The larger of the two
    shares is returned.
    """
    height, width, _ = pixels.shape
    shares: list[float] = []
    for corner in (pixels[0, 0].tolist(), pixels[-1, -1].tolist()):
        low, high = ([c + by for c in corner] for by in (-FRAME_TOLERANCE, FRAME_TOLERANCE))
        within = cv2.inRange(pixels, tuple(low), tuple(high))
        _, _, inner_width, inner_height = cv2.boundingRect(cv2.bitwise_not(within))
        shares.append(1 - inner_width * inner_height / (width * height))
    return max(shares)
