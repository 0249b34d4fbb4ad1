"""Finished trials → one interactive HTML page.

The page has all that it needs, also plotly, and a browser loads nothing from outside. Two scripts
run, plotly and search.js. The policy of the page has their hashes, so a browser runs no other one.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.evaluation.interval import Interval
from components.pages.page import render
from components.params.search import Space
from components.search import figures
from components.search.figures import Figure
from components.search.importances import Importances
from components.search.picture_study import complete_trials, pareto_front
from components.search.results import Results, setting_text, value_text
from components.search.trial import Trial

TEMPLATE = Path(__file__).with_name("search.html.jinja")
SCRIPT = Path(__file__).with_name("search.js")


@dataclass(frozen=True)
class Cell:
    """A cell of the table. text: what it shows. key: what the column is sorted by."""

    text: str
    key: str | float


def search_page(
    trials: Sequence[Trial],
    objectives: Mapping[str, str],
    space: Space,
    chosen: int | None,
    sentences: Sequence[str],
    importances: Importances,
    means: Mapping[int, Interval],
) -> str:
    """Return the HTML page. Equal arguments give equal text.

    trials: the finished trials, in any order; without a trial the page only says how to search.
    objectives: name → `maximize` or `minimize`; the first one is the quality, the others are costs,
    such as `multiply_adds` or `latency_ms`. space: the search space. chosen: the number of the
    trial whose hyperparameters are used, None if there is none. sentences: the results in words,
    without a full stop; the page lists them at its top. importances: the shares of the first
    objective. means: number of a confirmed trial → the mean of its confirmed values, with its
    interval; empty if no trial was confirmed.

    Names and choices may contain characters with a meaning in HTML. They are escaped.
    """
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    trials = sorted(trials, key=lambda trial: trial.number)
    results = Results(trials, objectives, space, chosen)
    pictures = _pictures(results, means)
    scripts = [get_plotlyjs(), SCRIPT.read_text("utf-8")] if trials else []
    return render(
        TEMPLATE,
        results=results,
        states=Counter(trial.state for trial in trials),
        importances=importances,
        no_shares=_written_out(importances.empty_because),
        sentences=[_written_out(sentence) for sentence in sentences],
        pictures=pictures,
        front=pareto_front(trials, objectives) if pictures["pareto"] else [],
        measured=complete_trials(trials, objectives),
        columns=_columns(results),
        rows=[(trial, _cells(trial, results)) for trial in trials],
        scripts=[Markup(script) for script in scripts],
        hashes=[_hash(script) for script in scripts],
    )


def _pictures(
    results: Results, means: Mapping[int, Interval]
) -> dict[str, list[tuple[str, Figure]]]:
    """Return the pictures of each section, each with its title; a section may have none."""
    pictures: dict[str, list[tuple[str, Figure]]] = {
        section: [] for section in ("history", "pareto", "confirmed", "parallel", "slices")
    }
    if results.complete:
        pictures["history"] = [("", figures.history(results))]
        pictures["slices"] = list(figures.slices(results).items())
    if pictures["slices"]:
        pictures["parallel"] = [("", figures.parallel_coordinates(results))]
    if complete_trials(results.trials, results.objectives):
        costs = list(results.objectives)[1:]
        pictures["pareto"] = [(cost, figures.pareto(results, cost)) for cost in costs]
    if any(trial.confirmed for trial in results.trials):
        pictures["confirmed"] = [("", figures.confirmed(results, means))]
    return pictures


def _written_out(sentence: str) -> str:
    """Begin a sentence with a capital letter, unless with a name, and end it with a full stop."""
    first = sentence.split(" ")[0]
    is_name = "." in first or "_" in first
    return f"{sentence if is_name else sentence[:1].upper() + sentence[1:]}."


def _columns(results: Results) -> list[str]:
    names = dict.fromkeys(results.space)
    for trial in results.trials:
        names |= dict.fromkeys(trial.overrides)
    return ["trial", "state", *results.objectives, "epochs", *names, "note"]


def _cells(trial: Trial, results: Results) -> list[Cell]:
    cells = {
        "trial": Cell(str(trial.number), trial.number),
        "state": Cell(trial.state, trial.state),
        "epochs": Cell(str(trial.epochs), trial.epochs),
        "note": Cell(trial.note, trial.note),
    }
    for name, value in trial.values.items():
        cells[name] = Cell(value_text(name, value), value)
    for name, chosen in trial.overrides.items():
        is_number = isinstance(chosen, int | float) and not isinstance(chosen, bool)
        text = setting_text(chosen)
        cells[name] = Cell(text, chosen if is_number else text)
    return [cells.get(name, Cell("–", "")) for name in _columns(results)]


def _hash(script: str) -> str:
    """Return the source of a script for a content security policy (CSP level 2)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
