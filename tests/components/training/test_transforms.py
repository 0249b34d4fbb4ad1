"""train.augmentation as a list: what is wrong is said in one sentence, before an image is read."""

from typing import Any

import albumentations as A  # noqa: N812 - the usual name of albumentations
import pytest

from components.errors import UserError
from components.training.transforms import build_transforms, check_augmentation


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
        ({"Lambda": {}}, ": albumentations has no such transform; "),
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
            {"CenterCrop3D": {"size": (9, 9, 9)}},
            ", CenterCrop3D: remove `size`",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused(entry: Any, message: str) -> None:
    assert refusal(entry).startswith(message)


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
