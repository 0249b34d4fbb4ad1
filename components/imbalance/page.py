"""A comparison of methods → the HTML page of `fovea balance`."""

from collections.abc import Mapping
from pathlib import Path

from components.imbalance.comparison import CONFIDENCE, SCORES, Comparison
from components.pages.interval_chart import IntervalChart, interval_chart
from components.pages.page import render

TEMPLATE = Path(__file__).with_name("comparison.html.jinja")
TITLES = {"macro_f1": "macro F1", "rare_recall": "recall of rare classes", "accuracy": "accuracy"}


def comparison_page(comparison: Comparison, counts: Mapping[str, int], command: str) -> str:
    """Return the HTML of the page. The same arguments give the same text.

    counts: class → the number of its images in train and val. command: trains with the chosen
    method.
    """
    charts = [_chart(comparison, score) for score in SCORES]
    return render(
        TEMPLATE,
        comparison=comparison,
        charts=charts,
        counts=counts,
        command=command,
        titles=TITLES,
        percent=f"{100 * CONFIDENCE:g} %",
    )


def _chart(comparison: Comparison, score: str) -> IntervalChart:
    rows = {}
    for result in comparison.results[1:]:  # The first one is `none`, whose difference is 0.
        interval = result.differences[score]
        value = interval.value or 0.0
        rows[result.method.name] = (interval.low or 0.0, value, interval.high or 0.0)
    return interval_chart(f"{TITLES[score]}: difference to none", rows)
