"""Images that groups of test images lost and gained → the groups whose harm is not excluded.

A group is any named set of test images, such as the images of a class. Its "drop" is the champion's
share of right images minus the challenger's share. For the images of a class, this is the drop of
the recall.

Harm to a group is excluded if one of two conditions holds:

1. The images exclude a drop above `max_recall_drop`, at the confidence level of params.yaml
   (non-inferiority).
2. The group lost no more images than `allowed_loss` says. This condition is for groups with too few
   images for the first condition. "Loss" means lost minus gained images. If max_recall_drop is
   0.05, no loss is allowed up to 26 images, one image from 27 images on, and never more than three.

If there are many groups, chance alone takes an image from some of them. So one image may be lost in
one of twenty groups that are so small that no loss is allowed.

docs/decisions/promotion-gate.md says how often a group that truly fell is let through.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.evaluation.interval import Bools, Floats, Ints
from components.evaluation.paired import Counts, drop_excluded, drop_limit

MOST_LOST = 3  # images; see `allowed_loss`
SMALL_GROUPS = 20  # one of this number of small groups may lose an image; see `doubts`
MOST_IMAGES = 10_000_000  # the largest number of images that `images_needed` returns


@dataclass(frozen=True)
class Change:
    """What happened to a group: how many images it lost and gained, and what is excluded.

    name: the name of the group. images: the number of its test images. lost: images that only the
    champion gets right. gained: images that only the challenger gets right. limit:
    max_recall_drop. highest: a drop above this number is excluded. lowest: a drop below this number
    is excluded; below 0 if a gain is possible.
    """

    name: str
    images: int
    lost: int
    gained: int
    limit: float
    highest: float
    lowest: float
    confidence: float

    @property
    def harmed(self) -> bool:
        """Return True if the drop is certainly above `limit`."""
        return self.lowest > self.limit

    @property
    def needed(self) -> int | None:
        """Return how many images would exclude a drop above `limit` (see `images_needed`)."""
        return images_needed(self.lost, self.gained, self.images, self.limit, self.confidence)


def changes(
    old_right: Bools, new_right: Bools, groups: Mapping[str, Bools], limit: float, confidence: float
) -> Iterator[Change]:
    """Yield the change of each group that has images.

    old_right, new_right: bool [N], True if the champion and the challenger are right on an image.
    groups: the name of each group → bool [N], True if an image belongs to the group. limit:
    max_recall_drop. confidence: the confidence level.
    """
    for name, members in groups.items():
        images = int(members.sum())
        if images:
            lost = int((members & old_right & ~new_right).sum())
            gained = int((members & new_right & ~old_right).sum())
            highest = float(drop_limit(lost, gained, images, confidence))
            lowest = -float(drop_limit(gained, lost, images, confidence))
            yield Change(name, images, lost, gained, limit, highest, lowest, confidence)


def doubtful(groups: Sequence[Change]) -> list[Change]:
    """Return the groups whose harm is not excluded by the rules at the top of this file."""
    if not groups:
        return []
    lost, gained, images = np.array([(g.lost, g.gained, g.images) for g in groups]).transpose()
    doubted = doubts(lost, gained, images, groups[0].limit, groups[0].confidence)
    return [group for group, doubt in zip(groups, doubted, strict=True) if doubt]


def doubts(lost: Ints, gained: Ints, images: Ints, limit: float, confidence: float) -> Bools:
    """Return, for each group, True if its harm is not excluded: bool [..., G].

    lost, gained: int [..., G], the numbers of lost and gained images of each group. images: int
    [G], the number of its images. limit: max_recall_drop. confidence: the confidence level.

    In the example, two groups of 20 images are judged. The second group lost an image:

    >>> doubts(np.array([0, 1]), np.array([0, 0]), np.array([20, 20]), 0.05, 0.95)
    array([False,  True])
    """
    loss, allowed = lost - gained, allowed_loss(images, limit)
    doubt = (loss > allowed) & ~drop_excluded(lost, gained, images, limit, confidence)
    small = allowed == 0
    by_one = doubt & small & (loss == 1)
    few = by_one.sum(axis=-1, keepdims=True) <= small.sum() // SMALL_GROUPS
    return np.asarray(doubt & ~(by_one & few))


def allowed_loss(images: Counts, limit: float) -> Floats:
    """Return how many images a group may lose that is too small for the first condition.

    It is half of `limit`, as a number of images. From two thirds of an image on, one image is
    allowed. At most MOST_LOST images are allowed, because a large group can meet the first
    condition.

    >>> allowed_loss(np.array([20, 27, 60, 67, 90, 1000]), limit=0.05)
    array([0., 1., 1., 2., 2., 3.])
    """
    # 1e-9 is for rounding errors: 2/3 + 1/3 must not be below 1.
    half = np.asarray(images) * limit / 2
    return np.asarray(np.minimum(np.floor(half + 1 / 3 + 1e-9), MOST_LOST))


def images_needed(
    lost: int, gained: int, images: int, limit: float, confidence: float
) -> int | None:
    """Return the number of images of a group that would exclude a drop above `limit`.

    It is assumed that the same shares of the images are lost and gained. Returns None if the
    measured drop is not below `limit`, since more images would then exclude nothing.

    >>> images_needed(lost=0, gained=0, images=25, limit=0.05, confidence=0.95)
    73
    """

    def excludes(number: int) -> bool:
        scale = number / images
        return bool(drop_excluded(lost * scale, gained * scale, number, limit, confidence))

    if not excludes(MOST_IMAGES):
        return None
    low, high = 0, MOST_IMAGES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if excludes(middle) else (middle, high)
    return high
