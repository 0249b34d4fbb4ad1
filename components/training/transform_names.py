"""The name of a transform that cannot be used → why, and what to write instead."""

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from components.params.augmentation import POLICY_NAMES
from components.params.sentences import nearest

COMPOSITIONS = ("OneOf", "SomeOf", "RandomOrder", "Sequential")
OTHER_COMPOSITIONS = ("Compose", "ReplayCompose", "OneOrOther", "SelectiveChannelTransform")
# Classes of albumentations from which transforms are made.
BASES = ("BasicTransform", "DualTransform", "ImageOnlyTransform", "Transform3D", "BaseCompose")
NEEDS_PYTHON = "Lambda"
NOT_USED = (*OTHER_COMPOSITIONS, *BASES, NEEDS_PYTHON)
# What users look for in albumentations, by a name of a paper, of another library or of an older
# albumentations, in small letters → what to do.
A_POLICY = "write a policy instead of the list, such as `augmentation: trivialaugment`"
OTHER_NAMES = {
    "mixup": "write `train.mixup: 0.2`",
    "cutmix": "write `train.cutmix: 1.0`",
    "cutout": "write CoarseDropout",
    "grayscale": "write ToGray",
    "randomgrayscale": "write ToGray",
    "autoaugment": A_POLICY,
    "augmix": A_POLICY,
    "templatetransform": "remove it, because it would need more images",
}
OFFERED = 3  # at most so many names


def refusal(name: str, known: Sequence[str]) -> str:
    """Return why a name is refused, and what to write instead.

    known: the names of all transforms that can be used.
    """
    if name == NEEDS_PYTHON:
        return "it needs a function of Python, which params.yaml cannot have; remove it"
    if name in BASES:
        return "it is only a base of transforms, and changes no image; write a transform"
    if name in OTHER_COMPOSITIONS:
        *first, last = COMPOSITIONS
        return f"only {', '.join(first)} and {last} may have transforms inside; write one of them"
    return f"albumentations has no such transform; {_instead(name, known)}"


def _instead(name: str, known: Sequence[str]) -> str:
    """Return what to write instead of a name that albumentations does not have."""
    folded = name.lower()
    if folded in POLICY_NAMES:
        return (
            "it is a policy, which cannot be a part of a list; write the name of the policy "
            "instead of the list, or the transforms of the policy"
        )
    if folded in OTHER_NAMES:
        return OTHER_NAMES[folded]
    bare = name.removeprefix("Random")  # torchvision has RandomErasing and RandomHorizontalFlip
    return nearest(bare if bare in known else name, known) or _same_word(folded, known)


def _same_word(folded: str, known: Sequence[str]) -> str:
    """Return what to write: the names with the word that is most like a name.

    >>> _same_word("flp", ["Transpose", "HorizontalFlip", "VerticalFlip"])
    'the nearest names are HorizontalFlip and VerticalFlip'
    """
    words = {word for name in known for word in _words(name)}
    near = get_close_matches(folded, sorted(words), n=1)
    if not near:
        return "its documentation lists all transforms"
    *first, last = [name for name in known if near[0] in _words(name)][:OFFERED]
    return f"the nearest names are {', '.join(first)} and {last}" if first else f"write {last}"


def _words(name: str) -> Iterator[str]:
    """Yield the words of a name, in small letters."""
    return (word.lower() for word in re.findall("[A-Z][a-z]+", name))
