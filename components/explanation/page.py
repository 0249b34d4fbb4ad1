"""An explained image → its HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.explanation.explanation import Explanation
from components.explanation.pictures import FeatureMaps, colour_bar_png
from components.images.png_writer import encode_png
from components.pages.page import data_uri, render

TEMPLATE = Path(__file__).with_name("explanation.html.jinja")


@dataclass(frozen=True)
class Origin:
    """What an explanation is about.

    path: the path of the image. model: the path or the name of the model. layer: the name of the
    layer whose maps Grad-CAM used. grid: (height, width) of these maps.
    """

    path: str
    model: str
    layer: str
    grid: tuple[int, int]


def explanation_page(
    origin: Origin,
    explanation: Explanation,
    top: Sequence[tuple[str, float]],
    feature_maps: FeatureMaps | None,
) -> str:
    """Return the HTML of the page. The same arguments give the same text.

    top: the names and the probabilities of the most probable classes. feature_maps: None if they
    were not asked for.
    """
    channels = () if feature_maps is None else feature_maps.pictures
    return render(
        TEMPLATE,
        origin=origin,
        explanation=explanation,
        top=top,
        feature_maps=feature_maps,
        channels=[data_uri(encode_png(picture), "png") for picture in channels],
        image=data_uri(explanation.image_png, "png"),
        overlay=data_uri(explanation.overlay_png, "png"),
        bar=data_uri(colour_bar_png(), "png"),
        nearest=[(near, data_uri(near.image_png, "png")) for near in explanation.nearest],
    )
