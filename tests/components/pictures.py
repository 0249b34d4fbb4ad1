"""Pictures to test with: unlike each other, with detail at every scale, and copies of them."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image as Pillow
from PIL import ImageEnhance

from components.images import facts, fingerprints
from components.images.decoder import Pixels


def scene(seed: int, height: int = 192, width: int = 256) -> Pixels:
    """Colour noise with a 1/f spectrum, as photographs have."""
    generator = np.random.default_rng(seed)
    down, right = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    falloff = 1 / np.maximum(np.hypot(down, right), 1 / max(height, width))
    channels = [
        np.fft.irfft2(
            np.fft.rfft2(generator.standard_normal((height, width))) * falloff, s=(height, width)
        )
        for _ in range(3)
    ]
    noise = np.stack(channels, axis=-1)
    return (128 + 40 * noise / noise.std()).clip(0, 255).astype(np.uint8)


def measure(pixels: Pixels) -> dict[str, float]:
    return facts.measure(pixels, facts.luma_of(pixels))


def fingerprint(pixels: Pixels) -> bytes | None:
    return fingerprints.fingerprint(facts.luma_of(pixels))


def saved(pixels: Pixels, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, format=kind, **options)
    return file.getvalue()


def jpeg(image: Pillow.Image, quality: int = 92) -> Pillow.Image:
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=quality)
    return Pillow.open(file)


def _smaller(image: Pillow.Image) -> Pillow.Image:
    size = (round(image.width * 0.9), round(image.height * 0.9))
    return jpeg(image.resize(size, Pillow.Resampling.BICUBIC))


# Every way of copying that is promised to be found, and the share of copies that must be.
COPIES: dict[str, tuple[Callable[[Pillow.Image], Pillow.Image], float]] = {
    "exact": (lambda image: image, 1.0),
    "quality_50": (lambda image: jpeg(image, 50), 0.99),
    "size_90": (_smaller, 0.99),
    "mirrored": (lambda image: jpeg(image.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)), 0.95),
    "upside_down": (lambda image: jpeg(image.transpose(Pillow.Transpose.FLIP_TOP_BOTTOM)), 0.95),
    "quarter_turn": (lambda image: jpeg(image.transpose(Pillow.Transpose.ROTATE_90)), 0.95),
    "turned_5": (lambda image: jpeg(image.rotate(5, Pillow.Resampling.BILINEAR)), 0.95),
    "darker_20": (lambda image: jpeg(ImageEnhance.Brightness(image).enhance(0.8)), 0.95),
    "brighter_20": (lambda image: jpeg(ImageEnhance.Brightness(image).enhance(1.2)), 0.95),
}


def copied(pixels: Pixels, how: str) -> Pixels:
    """Return the pixels of a copy made in one of the ways of COPIES."""
    return np.asarray(COPIES[how][0](Pillow.fromarray(pixels)).convert("RGB"))
