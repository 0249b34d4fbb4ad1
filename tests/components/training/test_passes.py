"""The passes of policies do what albumentations does; each image draws its own option."""

import json
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812 - the usual name of albumentations
import cv2
import numpy as np
import pytest
import yaml

from components.errors import HyperparameterError
from components.params.augmentation import POLICY_NAMES
from components.training.augmentation import build_augmentation, compile_policy
from components.training.colour_passes import Jitter, RandomErase
from components.training.geometric_passes import Crop, Warp
from components.training.passes import OneOf, Single, SomeOf, Sometimes
from components.training.policies import POLICIES
from tests.components.training.test_augmentation import differences, hostile_pictures, pictures

REPLICATE: dict[str, Any] = {"border_mode": cv2.BORDER_REPLICATE, "p": 1}


def shear(generator: np.random.Generator) -> list[Any]:
    x, y = generator.uniform(-45, 45, 2) * generator.permutation([1, 0])
    return [A.Affine(shear={"x": (x, x), "y": (y, y)}, **REPLICATE)]


def solarize(generator: np.random.Generator) -> list[Any]:
    return [A.Solarize((generator.uniform(0, 1),) * 2, p=1)]


def posterize(generator: np.random.Generator) -> list[Any]:
    return [A.Posterize((int(generator.integers(1, 9)),) * 2, p=1)]


def saturation(generator: np.random.Generator) -> list[Any]:
    same = (1.0, 1.0)
    return [A.ColorJitter(same, same, (generator.uniform(0, 2),) * 2, (0.0, 0.0), p=1)]


@pytest.mark.parametrize("side", [28, 65])
@pytest.mark.parametrize(
    ("make", "most"), [(shear, 2), (solarize, 0), (posterize, 0), (saturation, 1)]
)
def test_a_pass_changes_an_image_as_albumentations_does(make, most: int, side: int) -> None:
    difference = np.abs(differences(make, side))
    assert (difference <= most).mean(axis=(1, 2, 3)).min() >= (0.99 if make is shear else 1)


def test_hostile_pictures_are_changed_as_albumentations_changes_them() -> None:
    generator = np.random.default_rng(1)
    for make, most in ((solarize, 0), (posterize, 0), (saturation, 1), (shear, 8)):
        for image in hostile_pictures(17):
            transforms = make(generator)
            ours = compile_policy(transforms).change(image[None].copy(), generator)[0]
            theirs = A.Compose(transforms)(image=image)["image"]
            assert np.abs(ours.astype(int) - theirs).max() <= most, make


def test_brightness_contrast_and_saturation_come_in_any_order() -> None:
    generator = np.random.default_rng(1)
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    for image in pictures(20, 28, generator):
        factors = generator.uniform(0.6, 1.4, 3)
        ours = Jitter(*((factor, factor) for factor in factors))
        jitter = A.ColorJitter(*((factor, factor) for factor in factors), (0.0, 0.0), p=1)
        for number, order in enumerate(orders):
            changed = ours.change(image[None].copy(), np.array([[0, 0, 0, (number + 0.5) / 6]]))[0]
            theirs = jitter.apply(image, *factors, 0.0, [*order, 3])
            assert np.abs(changed.astype(int) - theirs).max() <= 3


def test_a_crop_is_one_that_albumentations_could_make() -> None:
    """Its box has the same distribution, and the same box gives the same pixels."""
    transform = A.RandomResizedCrop((32, 32), scale=(0.2, 0.9), ratio=(0.5, 3.0))
    [crop] = compile_policy([transform]).passes
    assert isinstance(crop, Crop)
    ours = crop.boxes(np.random.default_rng(1).random((4000, crop.draws)), 32, 32)
    theirs = []
    transform.set_random_seed(2)
    for _ in range(4000):
        left, top, right, bottom = transform.get_params_dependent_on_data(
            {"shape": (32, 32, 3)}, {}
        )["crop_coords"]
        theirs.append((top, left, bottom - top, right - left))
    np.testing.assert_allclose(ours.mean(axis=0), np.mean(theirs, axis=0), atol=0.5)
    np.testing.assert_allclose(ours.std(axis=0), np.std(theirs, axis=0), atol=0.4)
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, :2] + ours[:, 2:] <= 32).all()

    image = pictures(1, 32, np.random.default_rng(3))
    numbers = np.random.default_rng(4).random((1, crop.draws))
    [(top, left, height, width)] = crop.boxes(numbers, 32, 32)
    box = (left, top, left + width, top + height)
    expected = transform.apply(image[0], crop_coords=box)
    np.testing.assert_array_equal(crop.change(image.copy(), numbers)[0], expected)


def test_a_crop_that_never_fits_is_the_largest_one_in_the_middle() -> None:
    crop = Crop((1.0, 1.0), (2.0, 2.0), cv2.INTER_LINEAR)
    boxes = crop.boxes(np.random.default_rng(1).random((3, crop.draws)), 32, 32)
    assert boxes.tolist() == [[8, 0, 16, 32]] * 3


def test_random_erasing_erases_what_albumentations_erases() -> None:
    """Zhong et al., 2020: 2 to 33 % of the area, width / height 0.3 to 3.3, random pixels."""
    transform = A.Erasing(fill="random", p=1)
    [erase] = compile_policy([transform]).passes
    assert erase == RandomErase((0.02, 0.33), (0.3, 3.3), None)
    ours = erase.boxes(np.random.default_rng(1).random((4000, 5)), 40, 40)
    transform.set_random_seed(2)
    theirs = []
    for _ in range(4000):
        [[left, top, right, bottom]] = transform.get_params_dependent_on_data(
            {"shape": (40, 40, 3)}, {}
        )["holes"]
        theirs.append((top, left, bottom - top, right - left))
    np.testing.assert_allclose(ours.mean(axis=0), np.mean(theirs, axis=0), atol=0.6)
    np.testing.assert_allclose(ours.std(axis=0), np.std(theirs, axis=0), atol=0.5)
    grey = np.full((1, 40, 40, 3), 99, np.uint8)
    numbers = np.random.default_rng(5).random((1, 5))
    [(top, left, height, width)] = erase.boxes(numbers, 40, 40)
    changed = erase.change(grey.copy(), numbers)
    hole = changed[0, top : top + height, left : left + width].copy()
    assert len(np.unique(hole)) > 50
    changed[0, top : top + height, left : left + width] = 99
    np.testing.assert_array_equal(changed, grey)


SHADES = np.full((3000, 8, 8, 3), 100, np.uint8)


def shades(transform: Any) -> tuple[np.ndarray, np.ndarray]:
    """How often each brightness comes out of 3,000 equal images, by ours and by albumentations."""
    policy = compile_policy([transform])
    ours = policy.change(SHADES.copy(), np.random.default_rng(1))[:, 0, 0, 0]
    transform.set_random_seed(3)
    compose = A.Compose([transform], seed=3)
    theirs = [compose(image=SHADES[0])["image"][0, 0, 0] for _ in range(3000)]
    return np.bincount(ours, minlength=256) / 3000, np.bincount(theirs, minlength=256) / 3000


def darker(factor: float, p: float = 1.0) -> Any:
    return A.ColorJitter((factor,) * 2, (1.0, 1.0), (1.0, 1.0), (0.0, 0.0), p=p)


@pytest.mark.parametrize(
    "transform",
    [
        A.OneOf([darker(0.5, 0.2), darker(0.7, 0.6), A.NoOp(p=0.2)], p=0.8),
        A.SomeOf([darker(0.5), darker(0.7, 0.5), darker(0.9)], n=2),
        A.SomeOf([darker(0.5), darker(0.7, 0.5), darker(0.9)], n=2, replace=True, p=0.7),
        A.RandomOrder([darker(0.5), A.Solarize((0.3, 0.3), p=1)], n=2),
        A.Sequential([darker(0.5, 0.5), A.OneOf([darker(0.7), darker(0.9)], p=0.5)], p=0.9),
    ],
    ids=["one_of", "some_of", "some_of_with_replacement", "random_order", "sequential"],
)
def test_options_are_drawn_as_often_as_in_albumentations(transform: Any) -> None:
    ours, theirs = shades(transform)
    assert set(np.flatnonzero(ours)) == set(np.flatnonzero(theirs))
    np.testing.assert_allclose(ours, theirs, atol=0.05)


def test_a_probability_is_that_of_each_image() -> None:
    [part] = compile_policy([darker(0.5, 0.3)]).passes
    assert isinstance(part, Sometimes)
    changed = part.change(SHADES.copy(), np.random.default_rng(1).random((3000, part.draws)))
    assert (changed[:, 0, 0, 0] == 50).mean() == pytest.approx(0.3, abs=0.03)
    assert compile_policy([darker(0.5, 0.0)]).passes == ()


@pytest.mark.parametrize("name", POLICY_NAMES)
def test_a_named_policy_depends_on_the_numbers_of_each_image_alone(name: str) -> None:
    """It keeps size and dtype, at the smallest size, too; most images are changed differently."""
    policy = build_augmentation(name)
    for side in (8, 33):
        image = pictures(1, side, np.random.default_rng(3))
        numbers = np.random.default_rng(1).random((60, policy.draws))
        changed = policy.change_by(np.repeat(image, 60, axis=0), numbers)
        assert (changed.shape, changed.dtype) == ((60, side, side, 3), np.uint8)
        again = policy.change_by(np.repeat(image, 20, axis=0), numbers[40:])
        np.testing.assert_array_equal(again, changed[40:])
        assert (len({one.tobytes() for one in changed}) > 30) == (name != "none")


def test_randaugment_and_trivialaugment_draw_from_the_14_operations_of_the_papers() -> None:
    [mirror, random] = build_augmentation("randaugment").passes
    [_, trivial] = build_augmentation("trivialaugment").passes
    assert mirror == Warp(horizontal=0.5)
    assert isinstance(random, SomeOf)
    assert isinstance(trivial, OneOf)
    assert (len(random.options), random.count, random.replace, random.sort) == (14, 2, True, False)
    assert (len(trivial.options), set(trivial.weights)) == (14, {1 / 14})
    assert random.options[0] == trivial.options[0] == ()  # the identity


def test_the_operations_have_the_largest_changes_of_the_papers() -> None:
    """RandAugment has 9 / 30 of them, up or down; TrivialAugment draws from the whole range."""

    def changes(entries: Any) -> list[tuple[str, str, Any]]:
        found = []
        for entry in entries:
            [(name, arguments)] = entry.items()
            if name == "OneOf":
                found += changes(arguments["transforms"])
            for key, value in arguments.items():
                if key in ("shear", "translate_percent"):
                    found += [(name, f"{key} {axis}", part) for axis, part in value.items() if part]
                elif isinstance(value, tuple) and name != "OneOf" and value not in ((1, 1), (0, 0)):
                    found.append((name, key, value))
        return found

    [_, random], [_, trivial] = POLICIES["randaugment"], POLICIES["trivialaugment"]
    both = (("Affine", "rotate", 9), ("Affine", "shear x", 5.01), ("Affine", "shear y", 5.01))
    both += (("Affine", "translate_percent x", 0.136), ("Affine", "translate_percent y", 0.136))
    factors = [("ColorJitter", key) for key in ("brightness", "contrast", "saturation")]
    blur = {"Sharpen": (0.0208, 0.0208), "GaussianBlur": ((3, 3), (0.4, 0.4))}
    assert changes(random["RandomOrder"]["transforms"]) == [
        *((*change, (sign * most, sign * most)) for *change, most in both for sign in (-1, 1)),
        *((*change, (factor, factor)) for change in factors for factor in (0.73, 1.27)),
        ("Sharpen", "alpha", blur["Sharpen"]),  # 0.27 / 13
        ("GaussianBlur", "blur_limit", blur["GaussianBlur"][0]),
        ("GaussianBlur", "sigma_limit", blur["GaussianBlur"][1]),
        ("Solarize", "threshold_range", (0.7, 0.7)),
        ("Posterize", "num_bits", (7, 7)),
    ]
    assert changes(trivial["OneOf"]["transforms"]) == [
        ("Affine", "rotate", (-135, 135)),
        ("Affine", "shear x", (-44.7, 44.7)),
        ("Affine", "shear y", (-44.7, 44.7)),
        ("Affine", "translate_percent x", (-0.143, 0.143)),
        ("Affine", "translate_percent y", (-0.143, 0.143)),
        *((*change, (0.01, 1.99)) for change in factors),
        ("Sharpen", "alpha", (0.0, 0.0762)),  # up to 0.99 / 13
        ("GaussianBlur", "blur_limit", (3, 3)),
        ("GaussianBlur", "sigma_limit", (0.2, 0.65)),
        ("Solarize", "threshold_range", (0, 1)),
        ("Posterize", "num_bits", (2, 8)),
    ]


def test_only_what_opencv_cannot_do_alone_is_left_to_albumentations() -> None:
    def singles(passes: Any) -> list[str]:
        names = []
        for part in passes:
            if isinstance(part, Single):
                names.append(type(part.transform).__name__)
            if isinstance(part, Sometimes):
                names += singles([part.part])
            for option in getattr(part, "options", ()):
                names += singles(option)
        return names

    operations = ["AutoContrast", "Equalize", "Sharpen", "GaussianBlur"]
    left = {name: singles(build_augmentation(name).passes) for name in POLICIES}
    assert left == {
        "none": [],
        "light": [],
        "medium": [],
        "heavy": ["GaussianBlur", "GaussNoise", "ToGray"],
        "randaugment": operations,
        "trivialaugment": operations,
    }


def test_a_transform_that_changes_the_size_only_sometimes_is_named() -> None:
    policy = compile_policy([A.CenterCrop(4, 4, p=0.5)])
    with pytest.raises(HyperparameterError, match=r"CenterCrop must keep size and dtype .* \(4, 4"):
        policy.change(SHADES[:60].copy(), np.random.default_rng(1))


def test_the_documentation_shows_the_policies_as_they_are() -> None:
    page = (Path(__file__).parents[3] / "docs/recipes-augmentation.md").read_text(encoding="utf-8")
    lines = page.partition("    light:\n")[2].partition("\n\n")[0]
    shown = yaml.safe_load(f"    light:\n{lines}")
    assert shown == {
        name: json.loads(json.dumps(POLICIES[name])) for name in ("light", "medium", "heavy")
    }
