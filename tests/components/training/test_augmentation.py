"""The compiled changes do what albumentations does, with a draw for each image."""

import pickle
from collections.abc import Callable
from typing import Any

import albumentations as A  # noqa: N812 - the usual name of albumentations
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from components.params.augmentation import Augmentation
from components.training.augmentation import Policy, build_augmentation, compile_policy
from components.training.colour_passes import Colour, Erase
from components.training.geometric_passes import Warp
from components.training.passes import Single
from components.training.transforms import build_transforms

Images = NDArray[np.uint8]
CASES = 40  # transforms with random parameters, for each kind and each size


def pictures(count: int, side: int, generator: np.random.Generator) -> Images:
    """Smooth images with the range of colours of photographs, without noise."""
    coarse = generator.integers(0, 256, (count, 6, 6, 3), np.uint8)
    return np.stack([cv2.resize(c, (side, side), interpolation=cv2.INTER_CUBIC) for c in coarse])


def differences(make: Callable[[np.random.Generator], list[Any]], side: int) -> NDArray[np.int64]:
    """Return compiled minus albumentations, [CASES, side, side, 3], for images and transforms.

    make: draws the parameters of transforms. Their ranges are of no width, so that albumentations
    and the compiled policy have nothing left to draw.
    """
    generator = np.random.default_rng(side)
    found = []
    for image in pictures(CASES, side, generator):
        transforms = make(generator)
        policy = compile_policy(transforms)
        assert not any(isinstance(part, Single) for part in policy.passes)
        ours = policy.change(image[None].copy(), generator)[0]
        theirs = A.Compose(transforms)(image=image)["image"]
        found.append(ours.astype(int) - theirs)
    return np.stack(found)


def geometry(generator: np.random.Generator) -> list[Any]:
    angle, x, y = generator.uniform(-45, 45), *generator.uniform(0.7, 1.3, 2)
    shift_x, shift_y = generator.uniform(-0.3, 0.3, 2)
    affine = A.Affine(
        rotate=(angle, angle),
        scale={"x": (x, x), "y": (y, y)},
        translate_percent={"x": (shift_x, shift_x), "y": (shift_y, shift_y)},
        border_mode=cv2.BORDER_REPLICATE,
        p=1,
    )
    flips = [A.HorizontalFlip(p=1), A.VerticalFlip(p=1)]
    return [*(flip for flip in flips if generator.random() < 0.5), affine]


def flips_alone(generator: np.random.Generator) -> list[Any]:
    flips = [A.HorizontalFlip(p=1), A.VerticalFlip(p=1)]
    return [flip for flip in flips if generator.random() < 0.7]


def either_colour(generator: np.random.Generator) -> list[Any]:
    factor, unchanged = (generator.uniform(0, 2),) * 2, (1.0, 1.0)
    factors = (factor, unchanged) if generator.random() < 0.5 else (unchanged, factor)
    return [A.ColorJitter(*factors, unchanged, (0.0, 0.0), p=1)]


@pytest.mark.parametrize("side", [28, 64, 224])
def test_flips_and_affine_maps_are_those_of_albumentations(side: int) -> None:
    difference = np.abs(differences(geometry, side))
    assert difference.mean(axis=(1, 2, 3)).max() <= 0.5
    assert (difference <= 2).mean(axis=(1, 2, 3)).min() >= 0.99


def test_flips_alone_are_exact() -> None:
    for flips in ([A.HorizontalFlip(p=1)], [A.VerticalFlip(p=1), A.HorizontalFlip(p=1)]):
        assert not differences(lambda _, flips=flips: flips, 28).any()


@pytest.mark.parametrize("side", [28, 224])
def test_brightness_and_contrast_are_those_of_albumentations_within_a_level(side: int) -> None:
    def jitter(brightness: float, contrast: float) -> list[Any]:
        return [A.ColorJitter((brightness,) * 2, (contrast,) * 2, (1.0, 1.0), (0.0, 0.0), p=1)]

    for make in (
        lambda generator: jitter(generator.uniform(0, 2), 1.0),
        lambda generator: jitter(1.0, generator.uniform(0, 2)),
    ):
        assert np.abs(differences(make, side)).max() <= 1


@pytest.mark.parametrize("side", [28, 224])
def test_brightness_and_contrast_come_in_either_order(side: int) -> None:
    """The order is the only draw here: albumentations applies its function by function."""
    generator = np.random.default_rng(side)
    for image in pictures(CASES, side, generator):
        bright, strength = generator.uniform(0.4, 1.6, 2)
        ours = Colour((bright, bright), (strength, strength))
        jitter = A.ColorJitter((bright,) * 2, (strength,) * 2, (1.0, 1.0), (0.0, 0.0), p=1)
        for first, order in ((0.2, [0, 1, 2, 3]), (0.8, [1, 0, 2, 3])):
            changed = ours.change(image[None].copy(), np.array([[0.5, 0.5, first]]))[0]
            theirs = jitter.apply(image, bright, strength, 1.0, 0.0, order)
            # A level more or less before the contrast can be two after it.
            assert np.abs(changed.astype(int) - theirs).max() <= (1 if strength <= 1 else 2)


def hostile_pictures(side: int) -> Images:
    """Pictures in which neighbours differ as much as they can, and pictures without neighbours."""
    rows, columns = np.indices((side, side))
    checkers = [((rows // cell + columns // cell) % 2) * 255 for cell in (1, 2, 5)]
    flat = [np.full((side, side), level) for level in (0, 1, 254, 255)]
    point = (rows == side // 3) & (columns == side // 2)
    grey = np.stack([*checkers, *flat, point * 255]).astype(np.uint8)
    noise = np.random.default_rng(side).integers(0, 256, (2, side, side, 3), np.uint8)
    return np.concatenate([np.repeat(grey[..., None], 3, axis=3), noise])


@pytest.mark.parametrize("side", [8, 9, 16, 33])
def test_hostile_pictures_are_changed_as_albumentations_changes_them(side: int) -> None:
    """A flip is exact; in a map, 1 / 32 of a pixel is 8 levels where white is next to black."""
    generator = np.random.default_rng(side)
    for make, most in ((geometry, 8), (flips_alone, 0), (either_colour, 1)):
        for image in hostile_pictures(side):
            transforms = make(generator)
            ours = compile_policy(transforms).change(image[None].copy(), generator)[0]
            theirs = A.Compose(transforms)(image=image)["image"]
            assert np.abs(ours.astype(int) - theirs).max() <= most


def test_an_erased_rectangle_is_one_that_albumentations_could_erase() -> None:
    white = np.full((3000, 28, 28, 3), 255, np.uint8)
    transform = A.CoarseDropout(num_holes_range=(1, 1), p=0.4)
    ours = compile_policy([transform]).change(white.copy(), np.random.default_rng(1))
    single = Single(transform).change(white.copy(), np.random.default_rng(2).random((3000, 1)))

    def rectangles(images: Images) -> NDArray[np.int64]:
        """Rows of top, left, bottom, right of the black pixels, which fill the rectangle."""
        rows = []
        for black in (images == 0).all(axis=3):
            if black.any():
                (top, left), (bottom, right) = np.argwhere(black)[[0, -1]]
                assert black[top : bottom + 1, left : right + 1].all()
                assert black.sum() == (bottom + 1 - top) * (right + 1 - left)
                rows.append((top, left, bottom, right))
        return np.array(rows)

    found, expected = rectangles(ours), rectangles(single)
    assert len(found) / 3000 == pytest.approx(0.4, abs=0.04)
    for reduce in (np.min, np.max):
        np.testing.assert_array_equal(reduce(found, axis=0), reduce(expected, axis=0))
    np.testing.assert_allclose(found.mean(axis=0), expected.mean(axis=0), atol=1)


def test_what_is_drawn_spreads_as_in_albumentations() -> None:
    """2,000 draws of every kind of change: the mean image, and the spread around it."""
    augmentation = Augmentation(
        horizontal_flip=0.3, vertical_flip=0.2, rotate=30, shift=0.2, scale=0.2,
        brightness=0.4, contrast=0.4, erase=0.3,
    )  # fmt: skip
    copies = np.repeat(pictures(1, 28, np.random.default_rng(3)), 2000, axis=0)
    policies = (
        build_augmentation(augmentation),
        Policy(tuple(Single(transform) for transform in build_transforms(augmentation))),
    )
    ours, theirs = (
        policy.change(copies.copy(), np.random.default_rng(seed))
        for seed, policy in enumerate(policies)
    )
    assert np.abs(ours.mean(axis=0) - theirs.mean(axis=0)).mean() < 3
    assert np.abs(ours.std(axis=0) - theirs.std(axis=0)).mean() < 2


def test_every_draw_has_the_distribution_that_the_params_name() -> None:
    """Uniform within the range; a flip as often as its probability; no draw follows another."""
    warp = Warp(0.2, 0.7, (-180, 180), (0.1, 1.9), (0.1, 1.9), (-0.9, 0.9), (-0.9, 0.9))
    numbers = np.random.default_rng(1).random((40_000, warp.draws))
    maps = warp.matrices(numbers, 101, 201)
    flips = np.sign(np.linalg.det(maps[:, :, :2]))  # -1 if exactly one side is flipped
    assert (flips < 0).mean() == pytest.approx(0.2 * 0.3 + 0.8 * 0.7, abs=0.01)
    factors = np.linalg.norm(maps[:, :, :2], axis=1)
    turned = np.rad2deg(np.arctan2(-maps[:, 1, 0], maps[:, 0, 0]))  # a flip adds 180 degrees
    moved = maps @ [100, 50, 1] - [100, 50]
    for values, (low, high) in (
        (factors[:, 0], (0.1, 1.9)),
        (factors[:, 1], (0.1, 1.9)),
        (turned, (-180, 180)),
        (moved[:, 0], (-0.9 * 201, 0.9 * 201)),
        (moved[:, 1], (-0.9 * 101, 0.9 * 101)),
    ):
        assert ((low - 1e-9 <= values) & (values <= high + 1e-9)).all()
        counts, _ = np.histogram(values, 9, (low, high))
        np.testing.assert_allclose(counts / len(values), 1 / 9, atol=0.012)
    drawn = np.stack([*factors.T, turned, *moved.T])
    assert np.abs(np.corrcoef(drawn) - np.eye(5)).max() < 0.03


def test_two_flips_are_drawn_independently() -> None:
    """A Compose with a seed draws the same number for both, so one flip would imply the other."""
    image = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    flips = [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]
    for policy in (compile_policy(flips), Policy(tuple(map(Single, flips)))):
        changed = policy.change(np.repeat(image, 400, axis=0), np.random.default_rng(1))
        _, counts = np.unique(changed.reshape(400, -1), axis=0, return_counts=True)
        assert len(counts) == 4
        assert counts.min() > 70


REPLICATE: dict[str, Any] = {"border_mode": cv2.BORDER_REPLICATE, "p": 1}


@pytest.mark.parametrize(
    "transform",
    [
        A.Rotate(limit=10, p=1),
        A.Affine(rotate=(-9, 9), border_mode=cv2.BORDER_CONSTANT, p=1),
        A.Affine(rotate=(-9, 9), interpolation=cv2.INTER_CUBIC, **REPLICATE),
        A.Affine(shear=(-9, 9), rotate=(-9, 9), **REPLICATE),
        A.Affine(scale=(0.8, 1.2), keep_ratio=True, **REPLICATE),
        A.Affine(scale=(0.8, 1.2), balanced_scale=True, **REPLICATE),
        A.Affine(translate_px=(-3, 3), **REPLICATE),
        A.Affine(rotate=(-9, 9), fit_output=True, **REPLICATE),
        A.ColorJitter(0.2, 0.2, 0, 0.1, p=1),
        A.Posterize(num_bits=[(1, 2), (3, 4), (5, 6)], p=1),
        A.Erasing(fill=9, p=1),
        A.CoarseDropout(num_holes_range=(2, 3), p=1),
        A.CoarseDropout(num_holes_range=(1, 1), fill=9, p=1),
        A.CoarseDropout(num_holes_range=(1, 1), hole_height_range=(2, 3), p=1),
    ],
    ids=str,
)
def test_what_no_pass_does_is_left_to_albumentations(transform: Any) -> None:
    assert compile_policy([transform]).passes == (Single(transform),)


def test_flips_become_one_pass_with_the_affine_map_that_follows_them() -> None:
    horizontal, vertical = A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.25)
    affine = A.Affine(rotate=(-9, 9), **REPLICATE)

    def kinds(*transforms: Any) -> list[type]:
        return [type(part) for part in compile_policy(transforms).passes]

    merged = Warp(0.5, 0.25, rotate=(-9, 9))
    assert compile_policy([horizontal, vertical, affine]).passes == (merged,)
    shifted = A.Affine(rotate=(-9, 9), translate_percent=(-0.1, 0.1), **REPLICATE)
    expected = Warp(0, 0.25, rotate=(-9, 9), shift_x=(-0.1, 0.1), shift_y=(-0.1, 0.1))
    assert compile_policy([vertical, shifted]).passes == (expected,)
    assert kinds(affine, horizontal) == [Warp, Warp]
    assert kinds(affine, affine) == [Warp, Warp]
    assert kinds(horizontal, horizontal) == [Warp, Warp]
    assert kinds(horizontal, A.CoarseDropout(num_holes_range=(1, 1)), affine) == [Warp, Erase, Warp]
    assert compile_policy([]).passes == ()


def test_the_largest_values_of_the_params_can_be_used() -> None:
    largest = Augmentation(
        horizontal_flip=1, vertical_flip=1, rotate=180, shift=0.99, scale=0.99,
        brightness=0.99, contrast=0.99, erase=1,
    )  # fmt: skip
    for side in (8, 17):
        images = pictures(50, side, np.random.default_rng(1))
        changed = build_augmentation(largest).change(images.copy(), np.random.default_rng(1))
        assert (changed.shape, changed.dtype) == (images.shape, np.uint8)
        assert len({one.tobytes() for one in changed}) == 50


def test_params_need_no_albumentations_call_for_an_image() -> None:
    everything = Augmentation(**dict.fromkeys(Augmentation.model_fields, 0.3))
    kinds = [type(part) for part in build_augmentation(everything).passes]
    assert kinds == [Warp, Colour, Erase]


def test_every_image_has_a_draw_of_its_own() -> None:
    """Also in a pass of albumentations; and the same generator gives the same images again."""
    image = pictures(1, 28, np.random.default_rng(3))
    copies = np.repeat(image, 100, axis=0)
    everything = Augmentation(**dict.fromkeys(Augmentation.model_fields, 0.3))
    left_over = compile_policy([A.Affine(shear=(-20, 20), rotate=(-9, 9), **REPLICATE)])
    for policy in (build_augmentation(everything), left_over):
        again = pickle.loads(pickle.dumps(policy))
        changed = policy.change(copies.copy(), np.random.default_rng(1))
        assert len({one.tobytes() for one in changed}) > 95
        np.testing.assert_array_equal(
            changed, again.change(copies.copy(), np.random.default_rng(1))
        )
