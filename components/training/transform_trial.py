"""A transform of albumentations → nothing, or one sentence that says why it cannot be used."""

from typing import Any

import numpy as np

from components.errors import UserError, one_line
from components.params.sentences import in_yaml

TRIES = 5  # for each transform, with other random numbers
# Their random numbers decide whether they change the size, so tries may not find it out.
RESIZING = ("RandomScale", "RandomCropFromBorders")


def try_transform(transform: Any, image: np.ndarray[Any, Any], place: str) -> None:
    """Raise UserError if the transform does not keep size and dtype, or needs more than an image.

    It is applied some times, to an image of random pixels, uint8 [side, side, 3].
    """
    name = type(transform).__name__
    _check_areas(transform, name, place)
    if name == "RandomResizedCrop":
        return
    needs = [key for key in transform.targets_as_params if key != "image"]
    if needs:
        raise UserError(
            f"{place}: it needs more than the image, {' and '.join(needs)}; remove it. "
            f"Received: {name}"
        )
    if not getattr(transform, "keep_size", True):
        raise UserError(
            f"{place}: images always keep the size of `prepare.size`; write `keep_size: true`. "
            f"Received: {name}, keep_size: false"
        )
    if name in RESIZING:
        raise UserError(
            f"{place}: it changes the size of an image, which must stay; use Affine or "
            f"RandomResizedCrop instead. Received: {name}"
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


def _check_areas(transform: Any, name: str, place: str) -> None:
    """Raise UserError if a transform draws areas or ratios that no part of an image can have.

    The images are square, so a part whose width is r times its height has at most the share
    min(r, 1 / r) of the area.
    """
    if name not in ("RandomResizedCrop", "Erasing"):
        return
    (least, most), (low, high) = transform.scale, transform.ratio
    written = in_yaml({"scale": [least, most], "ratio": [low, high]})
    if low <= 0:
        rule = "the numbers of `ratio` must be above 0, because they are width / height"
    elif not 0 < most <= 1:
        rule = (
            "the second number of `scale` must be above 0 and at most 1, because it is a share of "
            "the area"
        )
    elif name == "Erasing" and least > (fits := min(low, 1 / high)):
        rule = (
            f"with this `ratio`, a rectangle has at most {fits:.3g} of the area; lower `scale`, or "
            "write numbers nearer to 1 for `ratio`"
        )
    else:
        return
    raise UserError(f"{place}: {rule}. Received: {name}, {written}")


def _in_words(image: np.ndarray[Any, Any]) -> str:
    return f"{' × '.join(map(str, image.shape))} {image.dtype}"
