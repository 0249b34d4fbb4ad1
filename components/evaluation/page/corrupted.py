"""The accuracy on corrupted images → a small chart for each kind, with pictures of an image."""

from dataclasses import dataclass
from itertools import groupby
from typing import cast

import numpy as np
import pandas as pd

from components.evaluation.corruptions import corrupt
from components.evaluation.interval import Interval
from components.evaluation.page.pictures import SMALL_PX, Images, Picture, picture
from components.evaluation.robustness import Robustness, chosen_images
from components.pages.xy_chart import SMALL, Scale, Series, XYChart, xy_chart
from components.params.evaluate import Corruption

ACCURACY = Scale("accuracy", 0.0, 1.0, {0.0: "0", 0.5: "0.5", 1.0: "1"})


@dataclass(frozen=True)
class KindChart:
    """The chart of a kind of corruption.

    name: the kind in words. pictures: an image without the corruption, then with each severity.
    """

    name: str
    chart: XYChart
    pictures: tuple[Picture, ...]


def corruption_charts(
    robustness: Robustness | None, rows: pd.DataFrame, images: Images
) -> list[KindChart]:
    """Return a chart for each kind; none if no corruption was tried.

    rows: the table of N test images, with the column image_id. images: uint8 [N, S, S, 3], also a
    memory map.
    """
    if robustness is None:
        return []
    # Any of the images that were measured can be the example.
    example = int(chosen_images(rows["image_id"], 1)[0])
    pixels, image_id = np.asarray(images[example]), rows["image_id"].iloc[example]
    charts = []
    for kind, group in groupby(robustness.corrupted, key=lambda row: row.kind):
        measured = list(group)
        name = kind.replace("_", " ").replace("jpeg", "JPEG")
        figures = {"none": robustness.clean}
        figures |= {str(row.severity): row.accuracy for row in measured}
        pictures = [picture(pixels, "no corruption", SMALL_PX)]
        for row in measured:
            changed = corrupt(pixels, cast(Corruption, kind), row.severity, image_id)
            pictures.append(picture(changed, f"{name}, severity {row.severity}", SMALL_PX))
        charts.append(KindChart(name, _chart(name, figures), tuple(pictures)))
    return charts


def _chart(name: str, figures: dict[str, Interval]) -> XYChart:
    values = [
        (figure.value or 0.0, figure.low or 0.0, figure.high or 0.0) for figure in figures.values()
    ]
    clean = values[0][0]
    ticks = {float(at): text for at, text in enumerate(figures)}
    line = Series(
        name,
        "c1",
        [(float(at), value) for at, (value, _, _) in enumerate(values)],
        [(low, high) for _, low, high in values],
        [
            f"severity {text}: {value:.3f} ({low:.3f}–{high:.3f})"
            for text, (value, low, high) in zip(figures, values, strict=True)
        ],
    )
    # Half a step of room on both sides puts each mark over the middle of its picture.
    severity = Scale("severity", -0.5, len(figures) - 0.5, ticks)
    guide = [(severity.low, clean), (severity.high, clean)]
    return xy_chart(name, severity, ACCURACY, [line], guide, SMALL)
