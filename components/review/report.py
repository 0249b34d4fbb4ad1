"""A verdict and what it is about → the register report, one HTML page for the reviewer."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.evaluation.comparison import Comparison
from components.pages.interval_chart import IntervalChart, interval_chart
from components.pages.page import render
from components.review import ways
from components.review.facts import Judged, worst_first
from components.review.figures import (
    ALL_TESTED,
    NO_WEAK_SLICE,
    images_text,
    interval_text,
    p_text,
    slice_text,
)
from components.review.lineage import lineage_lines
from components.review.pictures import SHOWN, Changed, Picture
from components.validation.page.thumbnails import is_tiny, picture_uri, thumbnail

TEMPLATE = Path(__file__).with_name("register_report.html.jinja")
CLASSES_SHOWN = 100  # classes in the table of recalls
SLICES_SHOWN = 20
PICTURE_PX = 128


@dataclass(frozen=True)
class Gallery:
    """Pictures with a title. key: the id of the section. left_out: how many images are
    not shown. pictures: each with the data URI of its thumbnail, and whether it is tiny.
    """

    key: str
    title: str
    left_out: int
    pictures: list[tuple[Picture, str, bool]]


def register_report(judged: Judged, changed: Changed, seen: int, store: str) -> str:
    """Return the HTML page. It has its styles and pictures, and no script. Equal arguments give
    equal text.

    judged: the verdict. changed: the images on which one of the two models is right. seen: how many
    images the model was trained and selected on. store: the address of MLflow without a path.
    """
    model, verdict = judged.model, judged.verdict
    classes = worst_first(verdict.comparison)
    compared = [judged.champion] if judged.champion and not judged.is_champion else []
    return render(
        TEMPLATE,
        judged=judged,
        model=model,
        champion=judged.champion,
        verdict=verdict,
        commands=_commands(judged),
        page=ways.page(store, ways.model_route(model.name, model.version)),
        store=store,
        chart=_chart(judged),
        classes=classes[:CLASSES_SHOWN],
        hidden=len(classes) - CLASSES_SHOWN,
        slices=(judged.slices or ())[:SLICES_SHOWN],
        no_weak_slice=NO_WEAK_SLICE,
        all_tested=ALL_TESTED,
        galleries=list(_galleries(changed)),
        changed=changed,
        lineage=list(lineage_lines(model, compared[0] if compared else None)),
        seen=seen,
        start=model.tags.get("started_from", "none"),
        images=images_text(judged),
        text=interval_text,
        slice_text=slice_text,
        p_text=p_text,
    )


def _commands(judged: Judged) -> tuple[str, ...]:
    """Return the commands to choose from, the advised one first; empty for the champion itself."""
    version = judged.model.version
    if judged.is_champion:
        return ()
    if version is None:
        return (ways.REGISTER_EXPERIMENT,)
    return ways.commands(version, judged.verdict.decision, declined=False)


def _chart(judged: Judged) -> IntervalChart | None:
    """Return a chart of the differences of the overall metrics; None without a comparison."""
    rows = {row.title: _ends(row) for row in judged.overall if row.difference}
    known = {title: ends for title, ends in rows.items() if ends is not None}
    return interval_chart("challenger minus champion", known) if known else None


def _ends(row: Comparison) -> tuple[float, float, float] | None:
    found = row.difference
    if found is None or found.value is None or found.low is None or found.high is None:
        return None
    return found.low, found.value, found.high


def _galleries(changed: Changed) -> Iterator[Gallery]:
    """Yield what changed for the worse and for the better, if there is anything."""
    titles = {
        "worse": "for the worse: only the champion is right",
        "better": "for the better: only the challenger is right",
    }
    pictures = {"worse": changed.worse, "better": changed.better}
    images = {"worse": changed.lost, "better": changed.gained}
    for key, title in titles.items():
        small = [(picture, thumbnail(picture.pixels, PICTURE_PX)) for picture in pictures[key]]
        shown = [(picture, picture_uri(pixels), is_tiny(pixels)) for picture, pixels in small]
        if shown:
            yield Gallery(key, title, max(0, images[key] - SHOWN), shown)
