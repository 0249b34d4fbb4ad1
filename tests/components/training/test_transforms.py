"""train.augmentation as a list: what is wrong is said in one sentence, before an image is read."""

from typing import Any

import albumentations as A  # noqa: N812 - the usual name of albumentations
import pytest

from components.errors import UserError
from components.training.transform_names import COMPOSITIONS, NOT_USED, OTHER_COMPOSITIONS
from components.training.transforms import (
    build_transforms,
    check_augmentation,
    doubtful_views,
    mirrors,
)


def refusal(*entries: Any, size: int = 32) -> str:
    with pytest.raises(UserError) as raised:
        check_augmentation(entries, size)
    text = str(raised.value)
    assert "\n" not in text
    assert text.count("Received: ") == 1
    return text.removeprefix("train.augmentation, entry 1")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"HorizontalFlp": {}},
            ": albumentations has no such transform; write HorizontalFlip. Received: HorizontalFlp",
        ),
        (
            {"gaussnoise": {}},
            ": albumentations has no such transform; write GaussNoise. Received: gaussnoise",
        ),
        (
            {"Xyzzy": {}},
            ": albumentations has no such transform; its documentation lists all transforms. "
            "Received: Xyzzy",
        ),
        (
            {"HorizontalFlip": {"prob": 0.5}},
            ", HorizontalFlip: there is no such argument; its arguments are p. Received: prob",
        ),
        (
            {"Affine": {"rota": 3}},
            ", Affine: there is no such argument; write rotate",
        ),
        (
            {"HorizontalFlip": {"p": 1.5}},
            ", HorizontalFlip: `p` should be less than or equal to 1. Received: {p: 1.5}",
        ),
        (
            {"Solarize": {"threshold_range": (0.8, 0.2)}},
            ", Solarize: `threshold_range`: ",
        ),
        (
            {"Affine": {"rotate": "much", "p": 1}},
            ", Affine: `rotate` should be a list or a valid number",
        ),
        (
            {"OneOf": {"transforms": ({"GaussianBlurr": {}},)}},
            ", OneOf, entry 1: albumentations has no such transform; the nearest ",
        ),
        ({"OneOf": {"p": 1}}, ", OneOf: `transforms` must be a list of transforms. Received: null"),
        (
            {"SomeOf": {"n": 3, "transforms": ({"NoOp": {}},)}},
            ", SomeOf: `n` must be an integer, at least 1, and without `replace: true` at most the "
            "number of transforms, 1. Received: 3",
        ),
        (
            {"RandomOrder": {"n": 0, "transforms": ({"NoOp": {}},)}},
            ", RandomOrder: `n` must be an integer, at least 1",
        ),
        (
            {"SomeOf": {"n": "two", "transforms": ({"NoOp": {}},)}},
            ", SomeOf: `n` must be an integer, at least 1",
        ),
        (
            {"OneOf": {"transforms": ({"NoOp": {"p": 0}},)}},
            ", OneOf: the probability `p` of each transform is its weight, so at least one",
        ),
        (
            {"RandomResizedCrop": {"scale": (1.0, 0.5)}},
            ", RandomResizedCrop: `scale`: First value should be less than the second value, got "
            "(1.0, 0.5) instead. Received: {scale: [1.0, 0.5]}",
        ),
        ({"TextImage": {}}, ", TextImage: `font_path` should be written. Received: {}"),
        ("light", ": albumentations has no such transform; it is a policy, which cannot be a part"),
        ("MixUp", ": albumentations has no such transform; write `train.mixup: 0.2`. Received"),
        ({"Lambda": {}}, ": it needs a function of Python, which params.yaml cannot have; remove"),
        (
            {"Compose": {"transforms": ("NoOp",)}},
            ": only OneOf, SomeOf, RandomOrder and Sequential may have transforms inside; write "
            "one of them. Received: Compose",
        ),
        ("SelectiveChannelTransform", ": only OneOf, SomeOf, RandomOrder and Sequential may have"),
        ("BasicTransform", ": it is only a base of transforms, and changes no image; write a"),
        ("BaseCompose", ": it is only a base of transforms, and changes no image; write a trans"),
        ("TemplateTransform", ": albumentations has no such transform; remove it, because it"),
        (
            "Flip",
            ": albumentations has no such transform; the nearest names are HorizontalFlip and "
            "VerticalFlip. Received: Flip",
        ),
        (
            "Flp",
            ": albumentations has no such transform; the nearest names are HorizontalFlip and "
            "VerticalFlip. Received: Flp",
        ),
        ("Cutout", ": albumentations has no such transform; write CoarseDropout. Received: Cut"),
        ("Grayscale", ": albumentations has no such transform; write ToGray. Received: Grayscale"),
        ("RandomErasing", ": albumentations has no such transform; write Erasing. Received: Ran"),
        (
            "AutoAugment",
            ": albumentations has no such transform; write a policy instead of the list, such as "
            "`augmentation: trivialaugment`. Received: AutoAugment",
        ),
        (
            {"OneOf": {"transforms": ({"NoOp": {}}, "no name: 3")}},
            ", OneOf, entry 2: albumentations has no such transform",
        ),
        (
            {"OneOf": {"transforms": (3,)}},
            ", OneOf, entry 1: each entry of the list must be a transform with its arguments, such",
        ),
        (
            {"RandomResizedCrop": {"size": (32, 32)}},
            ", RandomResizedCrop: remove `size`, because images always keep the size of",
        ),
        (
            {"RandomSizedCrop": {"min_max_height": (9, 20)}},
            ", RandomSizedCrop: it changes the size of an image, which must stay; use "
            "RandomResizedCrop instead. Received: RandomSizedCrop",
        ),
        (
            {"CenterCrop": {"height": 16, "width": 16}},
            ": it must keep size and dtype of an image; remove it. Received: CenterCrop, "
            "16 × 16 × 3 uint8 from 32 × 32 × 3 uint8",
        ),
        (
            {"ToFloat": {}},
            ": it must keep size and dtype of an image; remove it. Received: ToFloat, 32 × 32 × 3 "
            "float32 from 32 × 32 × 3 uint8",
        ),
        ({"Normalize": {}}, ": it must keep size and dtype of an image; remove it. Received: Norm"),
        (
            {"FDA": {}},
            ": it needs more than the image, fda_metadata; remove it. Received: FDA",
        ),
        ({"MaskDropout": {}}, ": it needs more than the image, mask; remove it. Received: Mask"),
        (
            {"CenterCrop": {"height": 64, "width": 64}},
            ": albumentations cannot apply it to an image of 32 × 32 × 3 uint8; correct its "
            "arguments, or remove it. Received: CenterCrop, ",
        ),
        (
            {"CropAndPad": {"percent": (-0.0157, 0.0157), "keep_size": False, "p": 1}},
            ": images always keep the size of `prepare.size`; write `keep_size: true`. Received: "
            "CropAndPad, keep_size: false",
        ),
        (
            {"RandomScale": {"scale_limit": 0.001}},
            ": it changes the size of an image, which must stay; use Affine or RandomResizedCrop "
            "instead. Received: RandomScale",
        ),
        (
            {"RandomResizedCrop": {"scale": (0, 0)}},
            ": the second number of `scale` must be above 0 and at most 1, because it is a share "
            "of the area. Received: RandomResizedCrop, {scale: [0.0, 0.0], ratio: [0.75, ",
        ),
        (
            {"RandomResizedCrop": {"ratio": (0, 1)}},
            ": the numbers of `ratio` must be above 0, because they are width / height. Received",
        ),
        (
            {"Erasing": {"scale": (0.02, 5)}},
            ": the second number of `scale` must be above 0 and at most 1, because it is a share "
            "of the area. Received: Erasing, {scale: [0.02, 5.0], ratio: [0.3, 3.3]}",
        ),
        (
            {"Erasing": {"scale": (0.5, 0.6)}},
            ": with this `ratio`, a rectangle has at most 0.3 of the area; lower `scale`, or write "
            "numbers nearer to 1 for `ratio`. Received: Erasing, {scale: [0.5, 0.6], ratio: ",
        ),
        (
            {"CenterCrop3D": {"size": (9, 9, 9)}},
            ", CenterCrop3D: remove `size`",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused(entry: Any, message: str) -> None:
    assert refusal(entry).startswith(message)


@pytest.mark.parametrize("name", ["OneOf", "SomeOf", "RandomOrder", "Sequential"])
@pytest.mark.parametrize("value", ["banana", None, (0.5,), 3, -2])
def test_the_probability_of_a_composition_has_the_rule_of_each_transform(
    name: str, value: Any
) -> None:
    alone = refusal({"HorizontalFlip": {"p": value}}).removeprefix(", HorizontalFlip")
    message = refusal({name: {"transforms": ("NoOp",), "p": value}})
    assert message == f", {name}{alone}"
    assert message.startswith(f", {name}: `p` should be ")


def test_every_composition_and_base_of_albumentations_is_known() -> None:
    compositions = {
        name
        for name, kind in vars(A).items()
        if isinstance(kind, type) and issubclass(kind, A.BaseCompose)
    }
    assert compositions == {*COMPOSITIONS, *OTHER_COMPOSITIONS, "BaseCompose"}
    assert set(NOT_USED) <= set(vars(A))


@pytest.mark.parametrize("value", ["banana", "no", None, 1])
def test_replace_is_true_or_false(value: Any) -> None:
    message = ", SomeOf: `replace` must be true or false. Received: "
    assert refusal({"SomeOf": {"transforms": ("NoOp",), "replace": value}}).startswith(message)


def test_probabilities_of_compositions_are_numbers() -> None:
    (built,) = build_transforms(({"OneOf": {"transforms": ("NoOp",), "p": 1}},))
    assert (built.p, type(built.p)) == (1.0, float)


@pytest.mark.parametrize(
    ("augmentation", "mirrored"),
    [
        ("none", False),
        ("light", True),
        ((), False),
        (({"HorizontalFlip": {"p": 0}}, {"Rotate": {"limit": 9}}), False),
        (({"OneOf": {"transforms": ("NoOp", {"Sequential": {"transforms": ("D4",)}})}},), True),
    ],
    ids=str,
)
def test_mirrors(augmentation: Any, mirrored: bool) -> None:
    assert mirrors(augmentation) is mirrored
    assert bool(doubtful_views("mirrored", augmentation)) is not mirrored
    assert doubtful_views("plain", augmentation) == ""


def test_the_place_of_a_nested_entry_is_named() -> None:
    entries = ({"Transpose": {}}, {"Sequential": {"transforms": ("NoOp", {"Bluur": {}})}})
    assert refusal(*entries).startswith("train.augmentation, entry 2, Sequential, entry 2: ")


def test_what_keeps_an_image_is_accepted() -> None:
    entries = (
        "Transpose",
        {"RandomRotate90": {"p": 1}},
        {"GaussNoise": {"std_range": (0.1, 0.2)}},
        {"Affine": {"rotate": (-9, 9), "border_mode": "BORDER_REPLICATE"}},
        {"RandomResizedCrop": {"scale": (0.5, 1)}},
        {"GridDropout": {}},
        {"SomeOf": {"n": 1, "transforms": ({"CLAHE": {}}, {"ElasticTransform": {}})}},
    )
    for size in (8, 32):
        check_augmentation(entries, size)
    built = build_transforms(entries)
    assert [type(one).__name__ for one in built[:2]] == ["Transpose", "RandomRotate90"]
    assert built[3].border_mode == 1
    assert isinstance(built[-1], A.SomeOf)
