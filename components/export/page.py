"""Descriptions of the exports of one model → a table of them, and its HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.export.comparison import TIMED_BATCHES
from components.export.description import interval_text
from components.pages.page import render

TEMPLATE = Path(__file__).with_name("exports.html.jinja")
COLUMNS = (
    "target",
    "size",
    "accuracy",
    "same class",
    "largest difference",
    *(f"batch of {batch}" for batch in TIMED_BATCHES),
)


@dataclass(frozen=True)
class Row:
    """A row of the table, all texts but the address of the file."""

    file: str
    cells: tuple[str, ...]


def table_rows(descriptions: Mapping[Path, Mapping[str, Any]]) -> Sequence[Row]:
    """Return the row of the model itself, then one for each export.

    descriptions: the path of an export → its description; at least one, all of the same model.
    """
    newest = list(descriptions.values())[-1]["model"]
    first = Row(
        "",
        (
            "model.keras",
            size_text(newest["bytes"]),
            interval_text(newest["accuracy"]),
            "",
            "",
            *_times(newest["latency_ms"]),
        ),
    )
    return [first, *(_row(path, tree) for path, tree in descriptions.items())]


def exports_page(title: str, descriptions: Mapping[Path, Mapping[str, Any]]) -> str:
    """Return the HTML of the page. The same arguments give the same text.

    title: the model in words, such as `digits, version 3`. descriptions: as for `table_rows`.
    """
    newest = list(descriptions.values())[-1]
    return render(
        TEMPLATE,
        title=title,
        newest=newest,
        columns=COLUMNS,
        rows=table_rows(descriptions),
        described=[(tree["format"], str(path), tree) for path, tree in descriptions.items()],
    )


def size_text(count: int) -> str:
    """Write a size in kilobytes or megabytes.

    >>> size_text(1_640_000), size_text(640_000)
    ('1.6 MB', '640 kB')
    """
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{count / 1e3:.0f} kB"


def _row(path: Path, tree: Mapping[str, Any]) -> Row:
    check = tree["check"]
    return Row(
        str(path),
        (
            tree["format"],
            size_text(tree["bytes"]),
            interval_text(check["accuracy"]),
            interval_text(check["agreement"]),
            f"{check['largest_difference']:.2g}",
            *_times(check["latency_ms"]),
        ),
    )


def _times(latency_ms: Mapping[str, float]) -> list[str]:
    return [f"{latency_ms[str(batch)]:.2f} ms" for batch in TIMED_BATCHES]
