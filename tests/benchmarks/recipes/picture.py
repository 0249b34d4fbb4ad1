"""Results of one data set → an SVG picture: what each recipe costs and reaches.

On the left, a disc is the mean of a recipe over its seeds, and the small dots are its seeds. On the
right are the differences in macro F1 to the first recipe or change, paired over the seeds, with
their intervals.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.benchmarks.recipes.cards import PLAIN
from tests.benchmarks.recipes.results import Result
from tests.benchmarks.recipes.tables import by_recipe, compared, gain_in, paired

OURS, PEER = "#2563eb", "#9ca3af"
LINE_SHARE = 4.5  # the height of a line of text, in percent of the height of the panel
CHARACTER_SHARE = 0.017  # the width of a character, as a share of the width of the panel


def draw(results: Sequence[Result]) -> str:
    """Draw the results of one data set and return the text of the SVG picture.

    Equal arguments give equal text. Failed trainings are left out.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = by_recipe(line for line in results if "failed" not in line)
    every = {name: paired(ours, others) for name, ours, others in compared(rows)}
    pairs = {name: found for name, found in every.items() if found}
    height = max(4.6, 1.2 + 0.3 * len(pairs))
    with mpl.rc_context({"svg.hashsalt": "fovea", "font.size": 9}):
        figure = Figure(figsize=(12.4 if pairs else 6.2, height), layout="constrained")
        panels = figure.subplots(1, 2 if pairs else 1, squeeze=False)[0]
        figure.suptitle(results[0]["data"])
        _draw_costs(panels[0], rows)
        if pairs:
            _draw_differences(panels[1], pairs)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def short(name: str) -> str:
    """Return changes without the sections of their keys, and without what PLAIN has, too.

    >>> short("train.finetune.epochs=1 balance.strategy=smote − before")
    'epochs=1 smote − before'
    >>> short("balance.strategy=smote train.loss=cross_entropy model.logit_adjustment=none")
    'smote'
    >>> short(PLAIN)
    'plain'
    """
    changes = name.replace(PLAIN, "plain").split(" ")
    kept = " ".join(change for change in changes if change not in PLAIN.split())
    return re.sub(r"balance\.strategy=|(?:[a-z_]+\.)+(?=[a-z_]+=)", "", kept)


def _draw_costs(panel: Any, rows: dict[tuple[str, str], dict[int, Result]]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    every = [max(line["cpu_s"], 0.1) for found in rows.values() for line in found.values()]
    left, right = min(every) / 1.5, max(every) * 1.25
    room = max(len(short(change or recipe)) for recipe, change in rows) * CHARACTER_SHARE
    panel.set(xscale="log", xlim=(left, right * (right / left) ** (room / (1 - room))))
    panel.xaxis.set_major_locator(FixedLocator(_ticks(left, right)))  # none below the names
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter("{x:,g}")
    panel.set(xlabel="processor seconds of a training", ylabel="macro F1 on test")
    names: dict[str, tuple[float, float]] = {}
    for (recipe, change), found in rows.items():
        costs = [max(line["cpu_s"], 0.1) for line in found.values()]
        scores = [line["macro_f1"] for line in found.values()]
        colour = OURS if next(iter(found.values()))["kind"] == "ours" else PEER
        panel.plot(costs, scores, ".", color=colour, ms=4, alpha=0.5)
        centre = (float(np.exp(np.mean(np.log(costs)))), float(np.mean(scores)))
        panel.plot(*centre, "o", color=colour, ms=8)
        names[short(change or recipe)] = centre
    _write_names(panel, names)


def _ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten, from low to high."""
    ticks = [step * 10.0**power for power in range(-1, 6) for step in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]


def _write_names(panel: Any, names: Mapping[str, tuple[float, float]]) -> None:
    """Write each name to the right of its disc, so high that no two names lie on each other."""
    low, high = panel.get_ylim()
    line = (high - low) / 100 * LINE_SHARE
    free = low
    for name, (cost, score) in sorted(names.items(), key=lambda item: item[1][1]):
        free = max(score, free)
        panel.annotate(
            name,
            (cost, score),
            xytext=(cost * 1.25, free),
            va="center",
            arrowprops={"arrowstyle": "-", "color": PEER, "lw": 0.6, "relpos": (0, 0.5)},
        )
        free += line
    panel.set_ylim(low, max(high, free))


def _draw_differences(panel: Any, pairs: Mapping[str, Sequence[tuple[Result, Result]]]) -> None:
    """Draw a row for each difference; without an interval if there is only one seed."""
    from matplotlib.ticker import MaxNLocator

    panel.set(xlabel="difference in macro F1")
    panel.xaxis.set_major_locator(MaxNLocator(5))  # more numbers would touch each other
    panel.axvline(0, color="#111827", lw=0.8)
    for row, found in enumerate(pairs.values()):
        gain = gain_in("macro_f1", found)
        if gain.low is not None and gain.high is not None:
            panel.plot([gain.low, gain.high], [row, row], color=OURS)
        panel.plot(gain.value, row, "o", color=OURS)
    panel.set_yticks(range(len(pairs)), list(map(short, pairs)))
    panel.invert_yaxis()
