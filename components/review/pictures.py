"""Test images, the answers of two models → pictures of what changed for the worse and the better.

Something changed where exactly one of the two models is right. The same images count as lost and
gained in the verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.evaluation.comparison import Rival, pair_predictions
from components.evaluation.decision import decided_classes
from components.evaluation.interval import Bools, Floats, Ints
from components.images.decoder import Pixels

SHOWN = 24  # pictures of each kind


@dataclass(frozen=True)
class Picture:
    """A test image on which exactly one model is right.

    path: the path of the image file. label: its class. challenger, champion: the class that each
    model predicts. confidence: the probability that the wrong model gives to its answer. counted:
    the class that counts as the answer of the champion, if it is not `champion`, because that class
    is gone. pixels: uint8 [size, size, 3], the image as the challenger gets it.
    """

    path: str
    label: str
    challenger: str
    champion: str
    confidence: float
    counted: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class Changed:
    """What changed. lost, gained: how many images; the pictures are at most SHOWN of each kind."""

    lost: int
    gained: int
    worse: tuple[Picture, ...]
    better: tuple[Picture, ...]


NOTHING = Changed(0, 0, (), ())


def changed_images(
    paths: Sequence[str],
    labels: Ints,
    pixels: Pixels,
    challenger: Floats,
    champion: Rival,
    class_names: Sequence[str],
    compared: Bools,
) -> Changed:
    """Return what changed for the worse and the better; the surest wrong answers come first.

    paths: of N test images. labels: int [N], indices into class_names. pixels: uint8 [N, size,
    size, 3]. challenger: float [N, C], its finite probabilities. champion: its finite probabilities
    for the same N images. compared: bool [N], True for the images of the comparison.
    """
    known = set(champion.class_names)
    shared = compared & np.array([name in known for name in class_names])[labels]
    (rows,) = np.nonzero(shared)
    theirs = Rival(champion.probabilities[rows], champion.class_names)
    pair = pair_predictions(labels[rows], challenger[rows], theirs, class_names)
    new, old = pair.challenger == pair.labels, pair.tested_champion == pair.labels
    ours, answers = decided_classes(challenger[rows]), decided_classes(theirs.probabilities)

    def picture(place: int) -> Picture:
        row, wrong_is_new = int(rows[place]), bool(old[place])
        own, other = int(ours[place]), int(answers[place])
        sure = challenger[row, own] if wrong_is_new else theirs.probabilities[place, other]
        answer = champion.class_names[other]
        index = int(pair.champion[place])
        counted = pair.shared[index] if index < len(pair.shared) else ""
        return Picture(
            path=paths[row],
            label=class_names[int(labels[row])],
            challenger=class_names[own],
            champion=answer,
            confidence=float(sure),
            counted="" if counted == answer else counted,
            pixels=np.asarray(pixels[row]),
        )

    def surest(changed: Bools, wrong: Floats) -> tuple[Picture, ...]:
        (places,) = np.nonzero(changed)
        order = sorted(
            places.tolist(), key=lambda place: (-wrong[place].max(), paths[int(rows[place])])
        )
        return tuple(map(picture, order[:SHOWN]))

    lost, gained = old & ~new, new & ~old
    return Changed(
        int(lost.sum()),
        int(gained.sum()),
        surest(lost, challenger[rows]),
        surest(gained, theirs.probabilities),
    )
