"""Explained mistakes, the table of predictions → panels with maps, and a gallery of further ones.

A mistake has one panel, although it may be one of the worst, of the weakest class and of a confused
pair. So each panel has a number, and the later parts name the numbers of the panels above.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from components.evaluation.explained import Explained
from components.evaluation.page.pictures import Images, Picture, picture
from components.evaluation.predictions import Mistake, confident_mistakes
from components.explanation.explanation import Explanation

NEAR_PX = 96  # the longer side of the picture of a training image


@dataclass(frozen=True)
class Near:
    """A training image that looks alike. as_predicted: whether it has the predicted class."""

    picture: Picture
    label: str
    distance: float
    as_predicted: bool


@dataclass(frozen=True)
class Panel:
    """An explained mistake.

    number: from 1. path: of the image file. overlay: the map over the image; None if nothing in the
    image speaks for the predicted class. near: the most similar training images.
    """

    number: int
    path: str
    label: str
    predicted: str
    probability: float
    picture: Picture
    overlay: Picture | None
    near: tuple[Near, ...]


@dataclass(frozen=True)
class Part:
    """A part of the explained mistakes.

    label, predicted: the classes that it is about; empty if it is about all. images: how many
    mistakes there are of this kind. panels: those that are not above. above: the numbers of those
    that are.
    """

    label: str
    predicted: str
    images: int
    panels: tuple[Panel, ...]
    above: tuple[int, ...]


@dataclass(frozen=True)
class Mistakes:
    """The mistakes on the page.

    worst, weakest, pairs: the explained ones; None and empty without explanations. layer, grid: of
    the maps. compared, training: how many training images of how many were compared. reason: why
    there is no explanation. further: mistakes with the highest confidence that are in no panel.
    left_out: how many mistakes are not shown.
    """

    worst: Part | None
    weakest: Part | None
    pairs: tuple[Part, ...]
    layer: str
    grid: tuple[int, int]
    compared: int
    training: int
    reason: str
    further: tuple[tuple[Mistake, Picture], ...]
    left_out: int


def mistakes_of(
    predicted: pd.DataFrame, images: Images, explained: Explained, count: int
) -> Mistakes:
    """Return the mistakes to show.

    predicted: the table of N test images that `predictions` returns. images: uint8 [N, S, S, 3],
    also a memory map. count: the value `evaluate.mistakes`.
    """
    found = explained.found
    paths = predicted["path"].tolist()
    wrong = predicted[predicted["label"] != predicted["predicted"]]
    panels = _Panels(paths, explained.paths)
    worst = weakest = None
    pairs: tuple[Part, ...] = ()
    if found is not None:
        worst = panels.part(found.worst, "", "", len(wrong))
        of_class = int((wrong["label"] == found.weakest_class).sum())
        weakest = panels.part(found.weakest, found.weakest_class or "", "", of_class)
        pairs = tuple(
            panels.part(pair.explanations, pair.label, pair.predicted, pair.images)
            for pair in found.pairs
        )
    further = list(
        _further(predicted, images, panels.shown, count - len(worst.panels if worst else ()))
    )
    return Mistakes(
        worst,
        weakest,
        pairs,
        found.layer if found else "",
        found.grid if found else (0, 0),
        len(explained.paths),
        explained.training,
        explained.reason,
        tuple(further),
        len(wrong) - len(panels.shown) - len(further),
    )


class _Panels:
    """The panels so far. shown: the paths of the images that have one."""

    def __init__(self, paths: Sequence[str], training_paths: Sequence[str]) -> None:
        self._paths, self._training_paths = paths, training_paths
        self._numbers: dict[int, int] = {}

    @property
    def shown(self) -> set[str]:
        return {self._paths[row] for row in self._numbers}

    def part(
        self, explanations: Sequence[Explanation], label: str, predicted: str, images: int
    ) -> Part:
        above = [self._numbers[each.row] for each in explanations if each.row in self._numbers]
        new = [each for each in explanations if each.row not in self._numbers]
        return Part(label, predicted, images, tuple(map(self._panel, new)), tuple(above))

    def _panel(self, each: Explanation) -> Panel:
        number = self._numbers[each.row] = len(self._numbers) + 1
        return Panel(
            number,
            self._paths[each.row],
            each.label or "",
            each.predicted,
            each.probability,
            picture(each.image, "the image"),
            picture(each.overlay, "the map over the image") if each.marked else None,
            tuple(
                Near(
                    picture(near.image, self._training_paths[near.row], NEAR_PX),
                    near.label,
                    near.distance,
                    near.label == each.predicted,
                )
                for near in each.nearest
            ),
        )


def _further(
    predicted: pd.DataFrame, images: Images, shown: set[str], count: int
) -> Iterator[tuple[Mistake, Picture]]:
    for mistake in confident_mistakes(predicted, images, len(shown) + max(0, count)):
        if count > 0 and mistake.path not in shown:
            count -= 1
            yield mistake, picture(mistake.pixels, mistake.path)
