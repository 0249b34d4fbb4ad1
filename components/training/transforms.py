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
from components.params.augmentation import AnyAugmentation, Augmentation, split_entry
from components.params.model import Views
from components.params.sentences import EXPECTED, in_yaml, nearest
from components.training.geometric_passes import NOTHING, SAME
from components.training.policies import POLICIES
from components.training.transform_names import COMPOSITIONS, NOT_USED, refusal
from components.training.transform_trial import try_transform

# All transforms that exchange left and right, or do so together with a turn.
MIRRORING = ("HorizontalFlip", "VerticalFlip", "Transpose", "D4", "SquareSymmetry")
WORDS = EXPECTED | {"missing": "be written"}  # type of an error of pydantic → the rule


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
            try_transform(leaf, image, f"train.augmentation, entry {number}")


def doubtful_views(views: Views, augmentation: AnyAugmentation) -> str:
    """Return a warning if the saved model looks at mirror images, but is not trained with any.

    views: `model.views` of params.yaml. The text is empty if there is nothing to warn of.
    """
    if views != "mirrored" or mirrors(augmentation):
        return ""
    return (
        "model.views: mirrored averages each image with its mirror image, but train.augmentation "
        "mirrors no image; if left and right mean something, as in digits and letters, write "
        "`views: plain`, and otherwise let train.augmentation mirror, too"
    )


def mirrors(augmentation: AnyAugmentation) -> bool:
    """Return whether the section `train.augmentation` mirrors some of the images.

    >>> mirrors("light"), mirrors(({"Rotate": {"limit": 10}},))
    (True, False)
    """
    leaves = [leaf for transform in build_transforms(augmentation) for leaf in _leaves(transform)]
    return any(type(leaf).__name__ in MIRRORING and leaf.p for leaf in leaves)


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
        raise UserError(f"{place}: {refusal(name, known)}. Received: {name}")
    kind, place = getattr(A, name), f"{place}, {name}"
    return _construct(kind, _checked_arguments(kind, arguments, place), place)


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
        if "p" in arguments:  # albumentations does not check it.
            import albumentations as A  # noqa: N812 - the usual name of albumentations

            checked["p"] = _construct(A.NoOp, {"p": arguments["p"]}, place).p
    if name == "RandomResizedCrop":
        checked["size"] = (1, 1)  # It has no influence: the pass `Crop` keeps the size.
    return checked


def _check_composition(
    name: str, arguments: Mapping[str, Any], inner: Sequence[Any], place: str
) -> None:
    """Raise UserError if a composition would choose none of its transforms, or too many.

    albumentations takes every value of `n` and `replace`.
    """
    if name == "OneOf" and not any(transform.p for transform in inner):
        raise UserError(
            f"{place}: the probability `p` of each transform is its weight, so at least one must "
            "be above 0. Received: p: 0"
        )
    replace = arguments.get("replace", False)
    if not isinstance(replace, bool):
        raise UserError(f"{place}: `replace` must be true or false. Received: {in_yaml(replace)}")
    if "n" not in arguments:
        return
    number, most = arguments["n"], len(inner)
    if type(number) is not int or number < 1 or (number > most and not replace):
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
    return [name for name in (*single, *COMPOSITIONS) if name not in NOT_USED]


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
