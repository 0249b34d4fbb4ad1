"""Calibrations → the positions of the parts of a reliability diagram, which the report draws.

The x axis is the confidence and the y axis the accuracy, both from 0 to 1. Each bin of images is a
disc, whose area is proportional to its images. Discs on the diagonal are honest: below it the model
is too sure, above it it is not sure enough. All positions are in units of the SVG image.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from components.calibration.scores import Bin, Calibration
from components.pages.charts import Tick

# The edges of the plot, a square. The names of the curves are to the right of it.
LEFT, RIGHT, TOP, BOTTOM = 44.0, 304.0, 30.0, 290.0
LARGEST, SMALLEST = 14.0, 2.0  # the radius of a disc with all images, and of a disc with few images
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Disc:
    """A bin. x, y: the centre. radius: the radius. title: the numbers of the bin."""

    x: float
    y: float
    radius: float
    title: str


@dataclass(frozen=True)
class Curve:
    """The bins of one calibration. name: such as `before`. points: of an SVG polyline."""

    name: str
    ece: float
    points: str
    discs: tuple[Disc, ...]


@dataclass(frozen=True)
class Diagram:
    """A reliability diagram with one or two curves."""

    title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    curves: tuple[Curve, ...]


def reliability_diagram(title: str, calibrations: Mapping[str, Calibration]) -> Diagram:
    """Compute a reliability diagram. calibrations: name of a curve → its bins."""
    return Diagram(
        title,
        x_ticks=tuple(Tick(_x(value), f"{value:g}") for value in TICKS),
        y_ticks=tuple(Tick(_y(value), f"{value:g}") for value in TICKS),
        curves=tuple(_curve(name, measured) for name, measured in calibrations.items()),
    )


def _curve(name: str, measured: Calibration) -> Curve:
    images = sum(bin_.images for bin_ in measured.bins)
    discs = tuple(_disc(bin_, images) for bin_ in measured.bins)
    return Curve(name, measured.ece, " ".join(f"{disc.x},{disc.y}" for disc in discs), discs)


def _disc(bin_: Bin, images: int) -> Disc:
    radius = max(SMALLEST, round(LARGEST * math.sqrt(bin_.images / images), 1))
    words = (
        f"confidence {bin_.confidence:.3f}, accuracy {bin_.accuracy:.3f}, {bin_.images:,} images"
    )
    return Disc(_x(bin_.confidence), _y(bin_.accuracy), radius, words)


def _x(confidence: float) -> float:
    return round(LEFT + (RIGHT - LEFT) * confidence, 1)


def _y(accuracy: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * accuracy, 1)
