"""Section `train.augmentation`: the random changes of training images, in one of three forms.

The forms are: the name of a policy, a list of transforms of albumentations, or the ranges of some
common changes. The names and arguments of the transforms are checked by
components/training/transforms.py, because only albumentations knows them.
"""

import math
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Discriminator, Field, Tag

from components.params.section import Section, Share
from components.params.sentences import in_yaml

# What each policy does: components/training/policies.py.
PolicyName = Literal["none", "light", "medium", "heavy", "randaugment", "trivialaugment"]
POLICY_NAMES: tuple[str, ...] = get_args(PolicyName)


class Augmentation(Section):
    """Random changes of training images. The value 0 switches a change off."""

    horizontal_flip: Share = Field(description="probability that left and right are exchanged")
    vertical_flip: Share = Field(description="probability that top and bottom are exchanged")
    rotate: Annotated[float, Field(ge=0, le=180)] = Field(
        description="maximum angle of the rotation to the left or to the right, in degrees"
    )
    shift: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="maximum distance of the shift, as a share of the side"
    )
    scale: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="maximum change of the size; with 0.1 the factor is between 0.9 and 1.1"
    )
    brightness: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="maximum change of the brightness; with 0.1 the factor is between 0.9 and 1.1"
    )
    contrast: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="maximum change of the contrast; with 0.1 the factor is between 0.9 and 1.1"
    )
    erase: Share = Field(description="probability that one rectangle is erased")


def _check_entries(entries: tuple[Any, ...]) -> tuple[Any, ...]:
    """Raise ValueError if an entry is no transform with its arguments, or has NaN or infinity."""
    for entry in entries:
        split_entry(entry)
        _check_finite(entry)
    return entries


def _check_finite(value: Any) -> None:
    """Raise ValueError if a number in a value, however deep, is infinite or NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"each number of the list must be finite. Received: {in_yaml(value)}")
    if isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            _check_finite(inner)


def split_entry(entry: Any) -> tuple[str, dict[str, Any]]:
    """Return the name of a transform and its arguments.

    entry: an entry of the list. Raises ValueError if it has another form.

    >>> split_entry({"HorizontalFlip": {"p": 0.5}}), split_entry("Transpose")
    (('HorizontalFlip', {'p': 0.5}), ('Transpose', {}))
    """
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and len(entry) == 1:
        [(name, arguments)] = entry.items()
        if isinstance(arguments, dict | None):
            return name, arguments or {}
    raise ValueError(
        "each entry of the list must be a transform with its arguments, such as "
        f"`- HorizontalFlip: {{p: 0.5}}`. Received: {in_yaml(entry)}"
    )


def _form(value: Any) -> str:
    """Return the form of a value, the tag of one of the types of `AnyAugmentation`."""
    if isinstance(value, list | tuple):
        return "list"
    return "ranges" if isinstance(value, dict | Augmentation) else "name"


def changes_images(augmentation: str | tuple[Any, ...] | Augmentation) -> bool:
    """Return whether the section `train.augmentation` has any changes.

    >>> changes_images("light"), changes_images("none"), changes_images(())
    (True, False, False)
    """
    if isinstance(augmentation, Augmentation):
        return any(augmentation.model_dump().values())
    return augmentation not in ("none", ())


Transforms = Annotated[tuple[Any, ...], AfterValidator(_check_entries)]
AnyAugmentation = Annotated[
    Annotated[PolicyName, Tag("name")]
    | Annotated[Transforms, Tag("list")]
    | Annotated[Augmentation, Tag("ranges")],
    Discriminator(_form),
]
