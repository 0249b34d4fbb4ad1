"""The section `train.augmentation` → transforms of albumentations, or what is wrong with it.

Of all transforms of albumentations, those are allowed that keep size and dtype of an image and need
nothing but the image. `check_augmentation` finds this out before an image of the user is read.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np
from pydantic import ValidationError

from components.errors import UserError, one_line
from components.params.augmentation import (
    POLICY_NAMES,
    AnyAugmentation,
    Augmentation,
    split_entry,
)
from components.params.sentences import EXPECTED, in_yaml, nearest
from components.training.geometric_passes import NOTHING, SAME
from components.training.policies import POLICIES

COMPOSITIONS = ("OneOf", "SomeOf", "RandomOrder", "Sequential")
# Classes of albumentations from which transforms are made. A `Lambda` needs a function of Python.
BASES = ("BasicTransform", "DualTransform", "ImageOnlyTransform", "Transform3D", "Lambda")
# What users look for in albumentations, but is a param of its own → what to write.
PARAMS = {"mixup": "train.mixup: 0.2", "cutmix": "train.cutmix: 1.0"}
WORDS = EXPECTED | {"missing": "be written"}  # type of an error of pydantic → the rule
TRIES = 5  # for each transform, with other random numbers


def build_transforms(augmentation: AnyAugmentation) -> list[Any]:
    """Return the transforms of albumentations that the section `train.augmentation` describes.

    Raises UserError if a transform or an argument does not exist, or if an argument has a value
    that albumentations does not allow.
    """
    if isinstance(augmentation, Augmentation):
        return _from_ranges(augmentation)
    entries = POLICIES[augmentation] if isinstance(augmentation, str) else augmentation
    return _build_all(entries, "train.augmentation")


def check_augmentation(augmentation: AnyAugmentation, size: int) -> None:
    """Raise UserError if a listed transform cannot be used.

    Named policies and ranges can always be used.
    size: the side of the square images, in pixels.
    """
    if not isinstance(augmentation, tuple):
        return
    image = np.random.default_rng(1).integers(0, 256, (size, size, 3), np.uint8)
    for number, transform in enumerate(build_transforms(augmentation), start=1):
        for leaf in _leaves(transform):
            _try(leaf, image, f"train.augmentation, entry {number}")


def _build_all(entries: Sequence[Any], place: str) -> list[Any]:
    return [
        _build(entry, f"{place}, entry {number}") for number, entry in enumerate(entries, start=1)
    ]


def _build(entry: Any, place: str) -> Any:
    """Return the transform of an entry. place: words for the place of the entry in params.yaml."""
    import albumentations as A  # noqa: N812 - the usual name of albumentations

    try:
        name, arguments = split_entry(entry)
    except ValueError as error:
        raise UserError(f"{place}: {error}") from None
    known = _transform_names()
    if name not in known:
        raise UserError(
            f"{place}: albumentations has no such transform; {_instead(name, known)}. "
            f"Received: {name}"
        )
    kind, place = getattr(A, name), f"{place}, {name}"
    return _construct(kind, _checked_arguments(kind, arguments, place), place)


def _instead(name: str, known: Sequence[str]) -> str:
    """Return what to write instead of a name that is not known."""
    folded = name.lower()
    if folded in POLICY_NAMES:
        return (
            "it is a policy, which cannot be a part of a list; write the name of the policy "
            "instead of the list, or the transforms of the policy"
        )
    if folded in PARAMS:
        return f"write `{PARAMS[folded]}`"
    return nearest(name, known, "its documentation lists all transforms")


def _checked_arguments(kind: Any, arguments: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return the arguments of a transform as albumentations wants them."""
    import cv2

    name, parameters = kind.__name__, signature(kind.__init__).parameters
    allowed = [key for key in parameters if key not in ("self", "strict", "size")]
    if "size" in arguments:
        # DVC's run cache does not see a key `size`, and would restore the result of another value.
        raise UserError(
            f"{place}: remove `size`, because images always keep the size of `prepare.size`. "
            f"Received: {in_yaml(arguments['size'])}"
        )
    for key in arguments:
        if key not in allowed:
            near = nearest(key, allowed, f"its arguments are {', '.join(allowed)}")
            raise UserError(f"{place}: there is no such argument; {near}. Received: {key}")
    if "size" in parameters and name != "RandomResizedCrop":
        raise UserError(
            f"{place}: it changes the size of an image, which must stay; use RandomResizedCrop "
            f"instead. Received: {name}"
        )
    checked = {
        key: getattr(cv2, value, value)
        if isinstance(value, str) and value.startswith(("BORDER_", "INTER_"))
        else value
        for key, value in arguments.items()
    }
    if name in COMPOSITIONS:
        inner = arguments.get("transforms")
        if not isinstance(inner, list | tuple) or not inner:
            raise UserError(
                f"{place}: `transforms` must be a list of transforms. Received: {in_yaml(inner)}"
            )
        checked["transforms"] = _build_all(inner, place)
        _check_composition(name, arguments, checked["transforms"], place)
    if name == "RandomResizedCrop":
        checked["size"] = (1, 1)  # It has no influence: the pass `Crop` keeps the size.
    return checked


def _check_composition(
    name: str, arguments: Mapping[str, Any], inner: Sequence[Any], place: str
) -> None:
    """Raise UserError if a composition would choose none of its transforms, or too many."""
    if name == "OneOf" and not any(transform.p for transform in inner):
        raise UserError(
            f"{place}: the probability `p` of each transform is its weight, so at least one must "
            "be above 0. Received: p: 0"
        )
    if "n" not in arguments:
        return
    number, most = arguments["n"], len(inner)
    if type(number) is not int or number < 1 or (number > most and not arguments.get("replace")):
        raise UserError(
            f"{place}: `n` must be an integer, at least 1, and without `replace: true` at most the "
            f"number of transforms, {most}. Received: {in_yaml(number)}"
        )


def _construct(kind: Any, arguments: Mapping[str, Any], place: str) -> Any:
    """Return an object of albumentations, or raise UserError with its words.

    For some wrong values albumentations only warns, and takes other values instead.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return kind(**arguments)
        except Exception as error:
            cause = error.__cause__
            text = _broken_rule(cause) if isinstance(cause, ValidationError) else one_line(error)
            ours = ("transforms", "size")  # `size` is not the user's, see `_checked_arguments`.
            written = {key: value for key, value in arguments.items() if key not in ours}
            raise UserError(f"{place}: {text.rstrip('.')}. Received: {in_yaml(written)}") from None


def _broken_rule(error: ValidationError) -> str:
    """Return the rule that the first wrong argument breaks, for all types that it could have."""
    items = error.errors()
    key = items[0]["loc"][0] if items[0]["loc"] else ""
    texts = [
        f"Input should {WORDS[item['type']]}" if item["type"] in WORDS else item["msg"]
        for item in items
        if (item["loc"] or ("",))[0] == key
    ]
    rules = [
        one_line(text.removeprefix("Value error, ").removeprefix("Assertion failed, "))
        for text in dict.fromkeys(texts)
    ]
    words = [rule.removeprefix("Input should ") for rule in rules]
    if all(rule.startswith("Input should ") for rule in rules):
        return f"`{key}` should {' or '.join(words).replace(' or be ', ' or ')}"
    return f"`{key}`: {' or '.join(rules)}" if key else " or ".join(rules)


def _try(transform: Any, image: np.ndarray[Any, Any], place: str) -> None:
    """Raise UserError if the transform does not keep size and dtype, or needs more than an image.

    It is applied some times, to an image of random pixels.
    """
    name = type(transform).__name__
    if name == "RandomResizedCrop":
        return
    needs = [key for key in transform.targets_as_params if key != "image"]
    if needs:
        raise UserError(
            f"{place}: it needs more than the image, {' and '.join(needs)}; remove it. "
            f"Received: {name}"
        )
    for seed in range(TRIES):
        transform.set_random_seed(seed)
        try:
            changed = transform(image=image.copy(), force_apply=True)["image"]
        except Exception as error:
            raise UserError(
                f"{place}: albumentations cannot apply it to an image of {_in_words(image)}; "
                f"correct its arguments, or remove it. Received: {name}, {one_line(error)}"
            ) from None
        if changed.shape != image.shape or changed.dtype != image.dtype:
            raise UserError(
                f"{place}: it must keep size and dtype of an image; remove it. "
                f"Received: {name}, {_in_words(changed)} from {_in_words(image)}"
            )


def _in_words(image: np.ndarray[Any, Any]) -> str:
    return f"{' × '.join(map(str, image.shape))} {image.dtype}"


def _leaves(transform: Any) -> Iterator[Any]:
    """Yield the transforms of which a transform is made, or the transform itself."""
    if type(transform).__name__ not in COMPOSITIONS:
        yield transform
        return
    for inner in transform.transforms:
        yield from _leaves(inner)


def _transform_names() -> list[str]:
    import albumentations as A  # noqa: N812 - the usual name of albumentations

    single = [
        name
        for name, kind in vars(A).items()
        if isinstance(kind, type) and issubclass(kind, A.BasicTransform)
    ]
    return [name for name in (*single, *COMPOSITIONS) if name not in BASES]


def _from_ranges(augmentation: Augmentation) -> list[Any]:
    """Return the transforms of albumentations that define the ranges of `train.augmentation`."""
    import albumentations as A  # noqa: N812 - the usual name of albumentations
    import cv2

    changes: list[Any] = []
    if augmentation.horizontal_flip:
        changes.append(A.HorizontalFlip(p=augmentation.horizontal_flip))
    if augmentation.vertical_flip:
        changes.append(A.VerticalFlip(p=augmentation.vertical_flip))
    if augmentation.rotate or augmentation.shift or augmentation.scale:
        changes.append(
            A.Affine(
                rotate=(-augmentation.rotate, augmentation.rotate),
                translate_percent=(-augmentation.shift, augmentation.shift),
                scale=(1 - augmentation.scale, 1 + augmentation.scale),
                border_mode=cv2.BORDER_REPLICATE,
                p=1.0,
            )
        )
    if augmentation.brightness or augmentation.contrast:
        changes.append(
            A.ColorJitter(
                brightness=(1 - augmentation.brightness, 1 + augmentation.brightness),
                contrast=(1 - augmentation.contrast, 1 + augmentation.contrast),
                saturation=SAME,
                hue=NOTHING,
                p=1.0,
            )
        )
    if augmentation.erase:
        changes.append(A.CoarseDropout(num_holes_range=(1, 1), p=augmentation.erase))
    return changes
