"""The tree of report.json, thumbnails → report.html, one page to look at.

All that the page shows is in the tree. `validation.html.jinja` has what comes of the files and how
pictures look, `validation_labels.html.jinja` what is doubtful about copies and labels;
`validation.css` is their style, and their marks are in `validation_marks.html.jinja`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from components.images.decoder import Pixels
from components.pages.histograms import Histogram, histogram
from components.pages.page import render
from components.validation.page import excerpts, likenesses, wording
from components.validation.page.excerpts import Excerpt, Tree
from components.validation.page.thumbnails import is_tiny, picture_uri
from components.validation.page.verdict import by_outcome, outcome, verdict
from components.validation.page.wording import FactWords

TEMPLATE = Path(__file__).with_name("validation.html.jinja")
TABLES = {"formats": "Formats", "modes": "Modes", "bit_depths": "Bits a channel"}
ROWS = 8  # of a table


@dataclass(frozen=True)
class Thumbnail:
    """A picture inside the page; is_tiny: to be enlarged pixel by pixel."""

    uri: str
    is_tiny: bool

    @classmethod
    def of(cls, pixels: Pixels) -> "Thumbnail":
        """Encode pixels, uint8 [h, w, 3]."""
        return cls(picture_uri(pixels), is_tiny(pixels))


@dataclass(frozen=True)
class Drawn:
    """A fact's histogram with its words."""

    words: FactWords
    median: str
    drawn: Histogram


def page(report: Tree, pictures: Mapping[str, Pixels]) -> str:
    """Return the page; the same arguments give the same bytes.

    report: the tree of report.json. pictures: path → thumbnail, uint8 [h, w, 3], of those that
    `pictured` names; where one is missing, its path stands alone.
    """
    return render(
        TEMPLATE,
        report=report,
        verdict=verdict(report),
        expectations=by_outcome(report["expectations"]),
        on_fail={found["name"]: found["on_fail"] for found in report["expectations"]},
        outcome=outcome,
        reasons=excerpts.reasons(report),
        faulty=sum(found["files"] for found in report["faults"].values()),
        words=wording,
        most_examples=excerpts.EXAMPLES,
        classes=excerpts.classes(report),
        galleries=excerpts.galleries(report),
        tables=dict(_tables(report)),
        histograms=list(_histograms(report["facts"])),
        conflicts=likenesses.conflicts(report),
        near_conflicts=likenesses.near_conflicts(report),
        copy_sets=likenesses.copy_sets(report),
        near_clusters=likenesses.near_clusters(report),
        shortcuts=excerpts.shortcuts(report),
        told_labels=excerpts.offenders(report, "shortcuts"),
        suspects=excerpts.suspects(report),
        slips=excerpts.slips(report),
        difference=excerpts.difference(report),
        changes=excerpts.changes(report),
        thumbnails={path: Thumbnail.of(pixels) for path, pixels in pictures.items()},
    )


def pictured(report: Tree) -> list[str]:
    """Return the paths of the pictures that the page shows, each once, in the order of the page."""
    return list(dict.fromkeys(_paths(report)))


def _paths(report: Tree) -> Iterator[str]:
    for gallery in excerpts.galleries(report):
        yield from (example.path for example in gallery.examples.items)
    for shown in (
        likenesses.conflicts(report),
        likenesses.near_conflicts(report),
        likenesses.copy_sets(report),
        likenesses.near_clusters(report),
    ):
        yield from (member["path"] for copies in shown.items for member in copies.members.items)
    yield from (suspect["path"] for suspect in excerpts.suspects(report).items)


def _tables(report: Tree) -> Iterator[tuple[str, Excerpt[tuple[str, int]]]]:
    """Yield what the decoded pictures are by title, the commonest first."""
    sizes = [
        (f"{size['width']:,} × {size['height']:,}", size["images"]) for size in report["sizes"]
    ]
    yield "Sizes", Excerpt(tuple(sizes[:ROWS]), report["size_count"])
    for key, title in TABLES.items():
        counts = tuple(_sorted(report.get(key, {})).items())
        yield title, Excerpt(counts[:ROWS], len(counts))


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _histograms(facts: Tree) -> Iterator[Drawn]:
    for name, words in wording.FACTS.items():
        found = facts[name]
        if found["median"] is not None:
            drawn = histogram(found["edges"], found["counts"], found["median"], words.write)
            yield Drawn(words, words.write(found["median"]), drawn)
