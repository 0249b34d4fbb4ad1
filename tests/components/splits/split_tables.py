"""Tables of images as `split` reads them, and the links between copies that `validate` would find.

A picture is a number, and pictures that differ by less than 1 are near copies of another: so links
depend on content alone, chains and series come about by themselves, and a table that grows keeps
the links that it has.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.errors import UserError
from components.params.split import Split
from components.splits.splits import Splits, assign_splits

SPLIT = Split(seed=1, val=0.15, test=0.15, given="stop", folds=0)
NEAR = 1.0


@dataclass(frozen=True)
class Image:
    """A file; `picture` stands for its pixels."""

    path: str
    label: str
    picture: float
    group: str | None = None
    given_split: str | None = None

    @property
    def pixels_id(self) -> str:
        return f"{self.picture:.6f}"


def accepted_of(images: Sequence[Image]) -> pd.DataFrame:
    """The rows that `validate` accepts, as far as `split` looks at them, in the order given."""
    columns = ("path", "label", "group", "given_split", "pixels_id")
    rows = [[getattr(image, column) for column in columns] for image in images]
    return pd.DataFrame(rows, columns=list(columns)).astype("str")


def links_of(images: Sequence[Image]) -> pd.DataFrame:
    """Near links between the first files of pictures, exact ones from the first to its copies."""
    firsts: dict[str, Image] = {}
    links = []
    for image in sorted(images, key=lambda image: image.path):
        first = firsts.setdefault(image.pixels_id, image)
        if first is not image:
            links.append((first.path, image.path, "exact", 1.0))
    for one, two in combinations(firsts.values(), 2):
        if abs(one.picture - two.picture) < NEAR:
            similarity = 1 - abs(one.picture - two.picture) / 10
            links.append((one.path, two.path, "near", similarity))
    columns = ["path", "other", "kind", "similarity"]
    return pd.DataFrame(sorted(links), columns=columns).astype({"similarity": "float64"})


def unlike(label: str, count: int, start: int = 0, **facts: str) -> list[Image]:
    """Images of a class, none of which is like another, nor like those of other classes."""
    base = sum(map(ord, label)) * 1e6
    return [
        Image(f"{label}/{n}.png", label, base + 10 * n, **facts)
        for n in range(start, start + count)
    ]


@dataclass
class Case:
    """A random table, a tenth of which arrives later, with all that makes a split hard."""

    seed: int
    given: bool = False
    before: list[Image] = field(default_factory=list)
    after: list[Image] = field(default_factory=list)

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        count = int(random.integers(40, 160))
        self.after = [self._image(random, n, count) for n in range(count)]
        self.before = self.after[: int(count / 1.1)]

    def _image(self, random: np.random.Generator, number: int, count: int) -> Image:
        # The fewer pictures there is room for, the more of them are near copies, in longer chains.
        crowding = (1, 3, 30)[self.seed % 3]
        picture = round(random.uniform(0, count * crowding), int(random.integers(0, 3)))
        label = f"c{int(picture // 5) % (2 + self.seed % 4)}"
        if random.random() < 0.02:
            label = "c0"  # near copies under two labels
        grouped = self.seed % 2 and random.random() < 0.3
        split_names = (
            ("train", "train", "val", "test") if self.seed % 5 else ("train", "train", "test")
        )
        given = self.given and random.random() < 0.7
        return Image(
            path=f"{random.integers(0, 10**9):09d}-{number}.png",
            label=label,
            picture=picture,
            group=f"g{random.integers(0, count // 4)}" if grouped else None,
            given_split=str(random.choice(split_names)) if given else None,
        )


def split(images: list[Image], seed: int = 1, **params: object) -> Splits:
    changed = SPLIT.model_copy(update={"seed": seed, **params})
    return assign_splits(accepted_of(images), links_of(images), changed)


def split_by_path(splits: Splits) -> dict[str, str]:
    """Path → split, or `aside`."""
    kept = dict(zip(splits.rows["path"], splits.rows["split"], strict=True))
    return kept | dict.fromkeys(splits.set_aside["path"], "aside")


def place_of(image: Image, seed: int = 1) -> float:
    """The definition, once more: a hash of the seed and the image's own name."""
    name = f"group {image.group}" if image.group else f"pixels {image.pixels_id}"
    return int(hashlib.sha256(f"{seed} {name}".encode()).hexdigest()[:16], 16) / 2**64


def own_split(image: Image, params: Split = SPLIT) -> str:
    """The split of an image that no other image is like."""
    place = place_of(image)
    if place < params.test:
        return "test"
    return "val" if place < params.test + params.val else "train"


def on(split_name: str, label: str = "cat", **facts: str) -> Image:
    """A picture, unlike all others here, whose own split is this one."""
    made = (
        Image(f"{label}/{split_name}-{n}.png", label, 1e5 * n, **facts) for n in range(1, 10_000)
    )
    return next(image for image in made if own_split(image) == split_name)


def copy_of(image: Image, split_name: str, **facts: str) -> Image:
    """A near copy whose own split is this one."""
    made = (
        replace(image, path=f"{image.path}-{n}.png", picture=image.picture + n / 1000, **facts)
        for n in range(1, 500)
    )
    return next(copy for copy in made if own_split(copy) == split_name)


def belong(images: list[Image]) -> NDArray[np.bool_]:
    """bool [images, images]: which two must not be separated."""
    pictures = np.array([image.picture for image in images])
    pixels = np.array([image.pixels_id for image in images])
    groups = np.array([image.group or f"alone {n}" for n, image in enumerate(images)])
    near = np.abs(pictures[:, None] - pictures) < NEAR
    same = (pixels[:, None] == pixels) | (groups[:, None] == groups)
    return np.asarray(near | same)


def group_on(split_name: str) -> str:
    """The name of a group whose own split is this one."""
    return next(
        f"g{n}" for n in range(99) if own_split(Image("", "", 0, group=f"g{n}")) == split_name
    )


def has_leak(images: list[Image], splits: Splits) -> bool:
    """Whether any two images in the split that belong together are in different splits."""
    split_of = split_by_path(splits)
    split_name = np.array([split_of[image.path] for image in images])
    across = (
        (split_name[:, None] != split_name)
        & (split_name != "aside")
        & (split_name[:, None] != "aside")
    )
    return bool((across & belong(images)).any())


def tried(images: list[Image], **params: object) -> Splits | None:
    """The split, or None where a class cannot be in every split."""
    try:
        return split(images, **params)
    except UserError:
        return None
