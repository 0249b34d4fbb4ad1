"""Pixels → the same pixels, corrupted as by a poor camera or a strong compression.

The kinds, and the numbers for each severity, are those of ImageNet-C (Hendrycks and Dietterich,
2019, "Benchmarking neural network robustness to common corruptions and perturbations"; numbers from
ImageNet-C/create_c/make_imagenet_c.py of the authors). The paper has the severities 1 to 5. Here
1, 3 and 5 are used.

Differences from the paper: its images have 224 pixels, so the radius of a blur is multiplied by
side / 224. The disc of `defocus_blur` has a soft edge of one pixel, and its weights sum to 1; those
of the authors sum to 1.01 in severity 5. `pixelate` averages exact areas, Pillow whole pixels. The
authors cut decimals, here they are rounded. Fog, snow and frost are left out, because they need
pictures or many more numbers. docs/evaluation.md compares both on photographs.

Guarantee: what happens to an image depends on its pixels, its image_id, the kind and the severity
alone. The random numbers of an image are the same for all severities of a kind.
"""

import math
import zlib
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from components.params.evaluate import Corruption

Images = NDArray[np.uint8]
Pixels = NDArray[np.float32]  # one image, [H, W, 3], from 0 to 1
Change = Callable[[Pixels, int, np.random.Generator], Pixels]

SEVERITIES = (1, 3, 5)
SIDE_PX = 224  # of the images for which the paper has its radii

# kind → the numbers of the paper for SEVERITIES.
GAUSSIAN_NOISE = (0.08, 0.18, 0.38)  # standard deviation of the noise
SHOT_NOISE = (60, 12, 3)  # mean number of photons of a white pixel
DEFOCUS_RADIUS_PX = (3, 6, 10)
MOTION_PX = ((10, 3), (15, 8), (20, 15))  # radius and standard deviation of the trace
BRIGHTNESS = (0.1, 0.3, 0.5)  # added to the value of HSV
CONTRAST = (0.4, 0.2, 0.05)  # factor of the distance from the mean
PIXELATE = (0.6, 0.4, 0.25)  # factor of the number of pixels on a side
JPEG_QUALITY = (25, 15, 7)


def corrupt(pixels: Images, kind: Corruption, severity: int, image_id: str) -> Images:
    """Return a corrupted copy of an image: uint8 [H, W, 3] → uint8 [H, W, 3].

    severity: one of SEVERITIES. image_id: the sha256 of the image file (hex), which is the seed.
    """
    generator = np.random.default_rng([int(image_id, 16), zlib.crc32(kind.encode())])
    level = SEVERITIES.index(severity)
    changed = KINDS[kind]((pixels / 255).astype(np.float32), level, generator)
    result: Images = np.rint(np.clip(changed, 0, 1) * 255).astype(np.uint8)
    return result


def _gaussian_noise(pixels: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    noise = generator.standard_normal(pixels.shape, np.float32)
    return pixels + noise * np.float32(GAUSSIAN_NOISE[level])


def _shot_noise(pixels: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    photons = SHOT_NOISE[level]
    return (generator.poisson(pixels * photons) / photons).astype(np.float32)


def _defocus_blur(pixels: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    radius = DEFOCUS_RADIUS_PX[level] * _scale(pixels)
    reach = math.ceil(radius)
    down, right = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(down, right), 0, 1)
    return _filtered(pixels, disc, cv2.BORDER_REFLECT_101)


def _motion_blur(pixels: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """Smear the image along a line of a random angle, from -45 to 45 degrees.

    As in ImageMagick, a pixel leaves a trace of 2 * radius + 1 pixels on one side. Its weights fall
    as a Gaussian.
    """
    radius, sigma = (length * _scale(pixels) for length in MOTION_PX[level])
    angle = math.radians(generator.uniform(-45, 45))
    reach = int(2 * radius)
    trace = np.zeros((2 * reach + 1, 2 * reach + 1))
    for distance in range(reach + 1):
        down, right = (
            math.ceil(distance * share - 0.5) for share in (math.sin(angle), math.cos(angle))
        )
        trace[reach + down, reach + right] += math.exp(-((distance / sigma) ** 2) / 2)
    return _filtered(pixels, trace, cv2.BORDER_REPLICATE)


def _brightness(pixels: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
    hsv[:, :, 2] = np.clip(hsv[:, :, 2] + BRIGHTNESS[level], 0, 1)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.float32)


def _contrast(pixels: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    means = pixels.mean(axis=(0, 1), keepdims=True)
    changed: Pixels = (pixels - means) * np.float32(CONTRAST[level]) + means
    return changed


def _pixelate(pixels: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    height, width, _ = pixels.shape
    size = [max(1, int(side * PIXELATE[level])) for side in (width, height)]
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    # INTER_NEAREST would move the picture up and left, by up to half of a large pixel.
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(large, np.float32)


def _jpeg_compression(pixels: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    bgr = np.rint(pixels[:, :, ::-1] * 255).astype(np.uint8)
    _, file = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY[level]])
    decoded = cv2.imdecode(file, cv2.IMREAD_COLOR)
    return np.asarray(decoded, np.float32)[:, :, ::-1] / np.float32(255)


KINDS: dict[Corruption, Change] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "defocus_blur": _defocus_blur,
    "motion_blur": _motion_blur,
    "brightness": _brightness,
    "contrast": _contrast,
    "pixelate": _pixelate,
    "jpeg_compression": _jpeg_compression,
}


def _scale(pixels: Pixels) -> float:
    height, width, _ = pixels.shape
    return int(max(height, width)) / SIDE_PX


def _filtered(pixels: Pixels, weights: NDArray[np.float64], border: int) -> Pixels:
    kernel = (weights / weights.sum()).astype(np.float32)
    filtered = cv2.filter2D(pixels, -1, kernel, borderType=border)
    return np.asarray(filtered, np.float32)
