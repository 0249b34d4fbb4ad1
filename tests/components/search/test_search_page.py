"""The page of a search: what a browser would see, and that it sees nothing from outside."""

import base64
import hashlib
import json
import re
from dataclasses import replace

import pytest
from plotly.offline import get_plotlyjs

from components.evaluation.interval import Interval
from components.search.importances import Importances
from components.search.page import SCRIPT, search_page
from components.search.trial import Trial
from tests.components.pages.outline import Outline
from tests.components.search.finished_trials import (
    HOSTILE,
    OBJECTIVES,
    RATE,
    SPACE,
    best,
    confirm,
    finished_trials,
)

ONE = {"val_macro_f1": "maximize"}
SHARES = Importances(
    "val_macro_f1", {RATE: 0.612, "model.dropout": 0.0004}, {"train.momentum": "too few"}
)


SENTENCES = ("trial 3 <won>", "train.weight_decay explains 9 %")
MEANS = {best(finished_trials()): Interval(0.89, 0.87, 0.9)}


def draw(trials, objectives=OBJECTIVES, importances=SHARES, means=MEANS):
    chosen = best(trials) if any(trial.state == "complete" for trial in trials) else None
    return search_page(trials, objectives, SPACE, chosen, SENTENCES, importances, means)


@pytest.fixture(scope="module")
def trials():
    trials = finished_trials()
    return confirm(trials, best(trials), (0.88, 0.9, 0.89))


@pytest.fixture(scope="module")
def page(trials):
    return draw(trials)


def figures(page):
    """Return the pictures of a page: their id → plotly's JSON."""
    found = re.findall(r'<script type="application/json" id="([^"]*)">(.*?)</script>', page, re.S)
    return {name: json.loads(text) for name, text in found}


def without_plotly(page):
    return page.replace(get_plotlyjs(), "")


def test_equal_trials_give_equal_bytes_in_any_order(trials, page):
    assert draw(trials[::-1]) == page
    assert draw(trials[:-1]) != page


def test_the_page_has_every_picture_once(page):
    pictures = figures(page)
    assert set(pictures) == {
        "history-1",
        "pareto-1",
        "confirmed-1",
        "parallel-1",
        *(f"slices-{number}" for number in range(1, len(SPACE) + 1)),
    }
    assert sorted(re.findall(r'data-figure="([^"]*)"', page)) == sorted(pictures)
    assert page.count(get_plotlyjs()) == 1
    outline = Outline(page)
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))


def test_a_browser_runs_two_scripts_and_loads_nothing(page):
    assert Outline(page).links == []
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    assert scripts == [get_plotlyjs(), SCRIPT.read_text("utf-8")]
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert policy == (
        "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src "
        f"'sha256-{hashes[0]}' 'sha256-{hashes[1]}'"
    )


def test_hostile_choices_are_shown_and_not_run(page):
    outline = Outline(page)
    assert HOSTILE in outline.text.replace("\u200b", "")
    assert "img" not in outline.tags
    assert HOSTILE not in without_plotly(page)
    # Plotly reads text as HTML, and shows &lt; as <.
    texts = json.dumps(figures(page))
    assert "<img" not in texts
    assert "&lt;img src=x onerror" in texts


def test_the_head_says_what_was_found(page):
    text = Outline(page).section("")
    assert "26 trials of 5 hyperparameters" in text
    assert "Trial 3 <won>. train.weight_decay explains 9 %. complete" in text
    assert "complete 20 pruned 4 failed 2 maximize val_macro_f1 minimize multiply_adds" in text


def test_the_history_has_the_best_value_so_far_and_the_chosen_trial(trials, page):
    traces = {trace["name"]: trace for trace in figures(page)["history-1"]["data"]}
    assert set(traces) == {"best so far", "complete", "pruned", "chosen"}
    complete = [trial for trial in trials if trial.state == "complete"]
    assert traces["complete"]["x"] == [trial.number for trial in complete]
    assert traces["pruned"]["x"] == [5, 11, 17, 23]
    assert traces["best so far"]["y"][-1] == max(t.values["val_macro_f1"] for t in complete)
    assert traces["chosen"]["x"] == [best(trials)]
    hover = traces["complete"]["hovertext"][0]
    assert hover.startswith("<b>trial 0</b>, complete<br>val_macro_f1: 0.5")
    assert f"<br>{RATE}: 0.5<br>" in hover
    failing = draw(trials, {"val_macro_f1": "minimize"})
    [line] = [t for t in figures(failing)["history-1"]["data"] if t["name"] == "best so far"]
    assert line["y"][-1] == min(t.values["val_macro_f1"] for t in complete)


def test_a_slice_has_the_trials_that_chose_its_hyperparameter(trials, page):
    names = sorted(SPACE)
    for number, name in enumerate(names, 1):
        figure = figures(page)[f"slices-{number}"]
        having = [t.number for t in trials if t.state == "complete" and name in t.overrides]
        assert sorted(figure["data"][0]["marker"]["color"]) == having
        hovers = figure["data"][0]["hovertext"]
        for trial, hover in zip(figure["data"][0]["marker"]["color"], hovers, strict=True):
            assert hover.startswith(f"<b>trial {trial}</b>")
    rate = figures(page)[f"slices-{names.index(RATE) + 1}"]
    assert rate["layout"]["xaxis"]["type"] == "log"
    flags = figures(page)[f"slices-{names.index('train.flag') + 1}"]
    assert flags["layout"]["xaxis"]["ticktext"] == ["true", "true (2)", "1"]


def test_parallel_coordinates_have_a_line_for_each_complete_trial(trials, page):
    figure = figures(page)["parallel-1"]
    lines = [trace for trace in figure["data"] if trace["mode"] == "lines"]
    complete = [trial for trial in trials if trial.state == "complete"]
    assert len(lines) == len(complete)
    for trial, line in zip(complete, lines, strict=True):
        assert len(line["y"]) == 1 + len(SPACE)
        assert line["hovertext"][0].startswith(f"<b>trial {trial.number}</b>")
        assert (line["line"]["width"] == 3) == (trial.number == best(trials))
    labels = [label.replace("<br>", "") for label in figure["layout"]["xaxis"]["ticktext"]]
    assert labels == ["val_macro_f1", *sorted(SPACE)]


def test_the_front_is_drawn_only_if_there_are_costs(trials, page):
    dominated, front, chosen = figures(page)["pareto-1"]["data"]
    assert (dominated["name"], front["name"], chosen["name"]) == (
        "dominated",
        "Pareto front",
        "chosen",
    )
    assert front["mode"] == "lines+markers"
    assert front["x"] == sorted(front["x"])
    assert front["y"] == sorted(front["y"])
    assert len(front["x"]) + len(dominated["x"]) == 20
    assert f"{len(front['x'])} trials of 20 are on the Pareto front" in Outline(page).section(
        "pareto"
    )
    assert "pareto" not in Outline(draw(trials, ONE)).ids
    slow = [replace(t, values={**t.values, "latency_ms": 1.0}) for t in trials]
    three = figures(draw(slow, {**OBJECTIVES, "latency_ms": "minimize"}))
    assert three["pareto-2"]["data"][1]["mode"] == "markers"


def test_a_cost_that_no_trial_has_draws_no_front(trials):
    assert "pareto" not in Outline(draw(trials, {**ONE, "latency_ms": "minimize"})).ids


def test_confirmed_values_have_an_interval(trials, page):
    folds, means = figures(page)["confirmed-1"]["data"]
    assert folds["x"] == [0.88, 0.9, 0.89]
    assert means["x"] == [pytest.approx(0.89)]
    assert means["y"] == [f"trial {best(trials)}"]
    assert means["error_x"]["array"] == [pytest.approx(0.01)]
    assert means["error_x"]["arrayminus"] == [pytest.approx(0.02)]
    assert "confirmed" not in Outline(draw(finished_trials())).ids


def test_a_trial_that_failed_on_a_fold_has_the_other_folds_only(trials):
    number = best(trials)
    twice = confirm(confirm(trials, number, (0.9,)), 1, (0.7, float("nan")))
    drawn = figures(draw(twice, means={number: Interval(0.9, None, None)}))["confirmed-1"]
    folds, means = drawn["data"]
    assert folds["x"] == [0.7, 0.9]
    assert means["y"] == [f"trial {number}"]
    assert means["error_x"]["array"] == means["error_x"]["arrayminus"] == [None]
    assert drawn["layout"]["yaxis"]["categoryarray"] == ["trial 1", f"trial {number}"]


def test_shares_are_bars_and_reasons(page):
    section = Outline(page).section("importances")
    assert "61.2 % train.finetune.learning_rate" in section
    assert "< 0.1 % model.dropout" in section
    assert "train.momentum has no share: too few." in section
    assert "width:61.2%" in page


def test_without_shares_the_page_says_why(trials):
    why = "the trials hardly differ"
    nothing = Importances("val_macro_f1", {}, {RATE: "too few"}, why)
    assert Outline(draw(trials, importances=nothing)).section("importances") == (
        f"Which hyperparameters matter The trials hardly differ. {RATE} has no share: too few."
    )


def test_the_table_has_all_trials_and_what_columns_are_sorted_by(trials, page):
    section = Outline(page).section("trials")
    assert "the loss is <NaN>" in section
    rows = re.findall(r"<tr[ >].*?</tr>", page, re.S)[1:]
    assert len(rows) == len(trials)
    keys = [re.findall(r'data-key="([^"]*)"', row) for row in rows]
    assert [float(row[0]) for row in keys] == list(range(26))
    assert [float(row[2] or "nan") for row in keys][:5] == [
        trial.values["val_macro_f1"] for trial in trials[:5]
    ]
    assert keys[12][2] == keys[12][3] == ""
    [chosen] = [number for number, row in enumerate(rows) if 'class="chosen"' in row]
    assert chosen == best(trials)


def test_without_trials_the_page_is_one_sentence_that_says_how_to_search():
    text = search_page([], OBJECTIVES, SPACE, None, (), Importances("val_macro_f1"), {})
    outline = Outline(text)
    assert "There was no search" in outline.text
    assert "set search.trials there to a number above 0" in outline.text
    assert not {"script", "section", "table", "figure"} & set(outline.tags)
    assert len(text) < 20_000


def test_trials_that_all_failed_are_a_table_without_pictures():
    failed = [Trial(0, "failed", {RATE: 0.1}, note="no memory")]
    pruned = [Trial(1, "pruned", {RATE: 0.1}, {"val_macro_f1": 0.5})]
    text = draw(failed + pruned)
    assert figures(text) == {}
    assert "No trial is complete" in Outline(text).section("history")
    assert "no memory" in Outline(text).section("trials")


@pytest.mark.parametrize("overrides", [{}, {"train.seed": 3}])
def test_a_trial_without_hyperparameters_of_the_space_has_a_history_only(overrides):
    trial = Trial(0, "complete", overrides, {"val_macro_f1": 0.5, "multiply_adds": 1.0})
    assert set(figures(draw([trial]))) == {"history-1", "pareto-1"}
