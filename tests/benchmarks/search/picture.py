"""Results → SVG pictures: what our search and its peers have found by when, in how many trials."""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.benchmarks.recipes.picture import OURS
from tests.benchmarks.recipes.results import Result
from tests.benchmarks.search.figures import Events
from tests.benchmarks.search.tables import by_data

NAMES = {"ours": "Fovea", "optuna": "Optuna and Keras", "kerastuner": "KerasTuner, Hyperband"}
COLOURS = {"ours": OURS, "optuna": "#d97706", "kerastuner": "#6b7280"}


def draw(results: Sequence[Result]) -> dict[tuple[str, int], str]:
    """Return (data, seed) → the text of an SVG picture, of those with a search beside a peer.

    Equal arguments give equal text.
    """
    pictures = {}
    for key, lines in by_data(results).items():
        events = {line["kind"]: line["events"] for line in lines if line.get("events")}
        if len(events) > 1:
            pictures[key] = _draw(f"{key[0]}, seed {key[1]}", events)
    return pictures


def _draw(title: str, every: Mapping[str, Events]) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "fovea", "font.size": 9}):
        figure = Figure(figsize=(10.4, 4.0), layout="constrained")
        best, count = figure.subplots(1, 2)
        figure.suptitle(title)
        best.set(xlabel="seconds", ylabel="best macro F1 on val until then")
        count.set(xlabel="seconds", ylabel="trials finished", yscale="log")
        end = max(events[-1][0] for events in every.values())
        for who, events in every.items():
            for panel, row in ((best, 1), (count, 2)):
                _draw_steps(panel, who, list(_until_end(events, row, end)))
        # The first epochs of a search are far below the rest, which the picture is about.
        low = min(events[len(events) // 4][1] for events in every.values())
        high = max(events[-1][1] for events in every.values())
        best.set(xscale="log", ylim=(low - 0.01, high + 0.01))
        best.xaxis.set_major_formatter("{x:,g}")
        count.yaxis.set_major_formatter("{x:,g}")
        lines, names = best.get_legend_handles_labels()
        figure.legend(lines, names, loc="outside lower center", ncols=len(names), frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _until_end(events: Events, row: int, end: float) -> Iterator[tuple[float, float]]:
    """Yield (seconds, value), and the last value once more at the end of the picture."""
    for event in events:
        yield event[0], event[row]
    yield end, events[-1][row]


def _draw_steps(panel: Any, who: str, points: Sequence[tuple[float, float]]) -> None:
    seconds, values = zip(*points, strict=True)
    panel.step(seconds, values, where="post", color=COLOURS[who], label=NAMES[who])
