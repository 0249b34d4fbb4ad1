"""The named policies of `train.augmentation`, as lists of transforms of albumentations.

docs/recipes-augmentation.md shows what each does to images, and what it costs.
"""

from collections.abc import Mapping
from typing import Any

Entry = Mapping[str, Mapping[str, Any]]

ALWAYS = {"p": 1.0}
# Points from outside of the image get the colour of the nearest edge.
EDGE = {"border_mode": "BORDER_REPLICATE", **ALWAYS}
SHEAR_DEGREES = {0.3: 16.7, 0.99: 44.7}  # the angles whose tangents are the shears
MIRROR = {"HorizontalFlip": {"p": 0.5}}


def _affine(**ranges: Any) -> Entry:
    return {"Affine": {**ranges, **EDGE}}


def _jitter(brightness: Any = (1, 1), contrast: Any = (1, 1), saturation: Any = (1, 1)) -> Entry:
    factors = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    return {"ColorJitter": {**factors, "hue": (0, 0), **ALWAYS}}


def _one_of(*entries: Entry) -> Entry:
    return {"OneOf": {"transforms": entries, **ALWAYS}}


def _around(middle: float, distance: float) -> tuple[float, float]:
    return round(middle - distance, 6), round(middle + distance, 6)


# The operations whose strength is not a matter of degree.
PLAIN: tuple[Entry, ...] = (
    {"NoOp": ALWAYS},
    {"AutoContrast": {"method": "pil", **ALWAYS}},
    {"Equalize": {"mode": "pil", **ALWAYS}},
)


def _fixed_strength(strength: float) -> tuple[Entry, ...]:
    """Return the 14 operations of RandAugment (Cubuk et al., 2020) at one strength, 0 to 1.

    The largest changes are those of the paper: 30 degrees, a shear of 0.3, a shift of 150 of 331
    pixels, a factor of 1 ± 0.9. An operation with a direction takes either with the same
    probability. Strengths are numbers of degrees, levels or shares in albumentations, and the
    sharpness of Pillow is a blend with a mean of 3 × 3 pixels, so it is written as its kernel.
    """
    angle, shift, factor = 30 * strength, round(150 / 331 * strength, 3), 0.9 * strength
    lean = round(SHEAR_DEGREES[0.3] * strength, 2)

    def either(make: Any, middle: float, distance: float) -> Entry:
        return _one_of(*(make((value, value)) for value in _around(middle, distance)))

    return (
        *PLAIN,
        either(lambda value: _affine(rotate=value), 0, angle),
        either(lambda value: _affine(shear={"x": value, "y": 0}), 0, lean),
        either(lambda value: _affine(shear={"x": 0, "y": value}), 0, lean),
        either(lambda value: _affine(translate_percent={"x": value, "y": 0}), 0, shift),
        either(lambda value: _affine(translate_percent={"x": 0, "y": value}), 0, shift),
        either(lambda value: _jitter(brightness=value), 1, factor),
        either(lambda value: _jitter(contrast=value), 1, factor),
        either(lambda value: _jitter(saturation=value), 1, factor),
        _sharpness((factor, factor), (0.4, 0.4)),
        {"Solarize": {"threshold_range": (1 - strength, 1 - strength), **ALWAYS}},
        {"Posterize": {"num_bits": (8 - round(4 * strength),) * 2, **ALWAYS}},
    )


def _any_strength() -> tuple[Entry, ...]:
    """Return the 14 operations of TrivialAugment (Müller and Hutter, 2021), with its wide ranges.

    The largest changes are those of the paper: 135 degrees, a shear of 0.99, a shift of 32 of 224
    pixels, a factor of 1 ± 0.99, 2 bits. The strength is drawn from the whole range; in the paper
    it is one of 31 steps.
    """
    factor, lean = (0.01, 1.99), (-SHEAR_DEGREES[0.99], SHEAR_DEGREES[0.99])
    shift = (-0.143, 0.143)
    return (
        *PLAIN,
        _affine(rotate=(-135, 135)),
        _affine(shear={"x": lean, "y": 0}),
        _affine(shear={"x": 0, "y": lean}),
        _affine(translate_percent={"x": shift, "y": 0}),
        _affine(translate_percent={"x": 0, "y": shift}),
        _jitter(brightness=factor),
        _jitter(contrast=factor),
        _jitter(saturation=factor),
        _sharpness((0.0, 0.99), (0.2, 0.65)),
        {"Solarize": {"threshold_range": (0, 1), **ALWAYS}},
        {"Posterize": {"num_bits": (2, 8), **ALWAYS}},
    )


def _sharpness(factors: tuple[float, float], sigmas: tuple[float, float]) -> Entry:
    """Return a change of the sharpness: up with half of the probability, and otherwise down.

    factors: by how much the factor of Pillow's sharpness is above 1. Pillow subtracts a mean in
    which the 8 neighbours have the weight 1 / 13. sigmas: those of a blur that is about as strong.
    """
    alpha = tuple(round(factor / 13, 4) for factor in factors)
    return _one_of(
        {"Sharpen": {"alpha": alpha, "lightness": (1, 1), **ALWAYS}},
        {"GaussianBlur": {"blur_limit": (3, 3), "sigma_limit": sigmas, **ALWAYS}},
    )


POLICIES: Mapping[str, tuple[Entry, ...]] = {
    "none": (),
    "light": (
        MIRROR,
        _affine(rotate=(-10, 10), translate_percent=(-0.05, 0.05), scale=(0.9, 1.1)),
        _jitter((0.9, 1.1), (0.9, 1.1)),
    ),
    "medium": (
        MIRROR,
        {"RandomResizedCrop": {"scale": (0.5, 1), "ratio": (0.75, 1.3333), **ALWAYS}},
        _affine(rotate=(-10, 10)),
        _jitter((0.8, 1.2), (0.8, 1.2), (0.8, 1.2)),
    ),
    "heavy": (
        MIRROR,
        {"RandomResizedCrop": {"scale": (0.25, 1), "ratio": (0.75, 1.3333), **ALWAYS}},
        _affine(rotate=(-20, 20)),
        _jitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4)),
        {
            "OneOf": {
                "transforms": (
                    {"GaussianBlur": {"blur_limit": (3, 5), **ALWAYS}},
                    {"GaussNoise": {"std_range": (0.02, 0.1), **ALWAYS}},
                    {"ToGray": ALWAYS},
                ),
                "p": 0.3,
            }
        },
        {"Erasing": {"scale": (0.02, 0.33), "ratio": (0.3, 3.3), "fill": "random", "p": 0.25}},
    ),
    # N = 2 operations of strength M = 9 on a scale from 0 to 30.
    "randaugment": (
        MIRROR,
        {
            "RandomOrder": {
                "transforms": _fixed_strength(9 / 30),
                "n": 2,
                "replace": True,
                **ALWAYS,
            }
        },
    ),
    "trivialaugment": (MIRROR, _one_of(*_any_strength())),
}
