"""The SVG picture of a search."""

import re
import xml.etree.ElementTree as ET

from components.params.search import Choices, Range
from components.search.plots import draw_trials
from components.search.trial import Trial
from tests.components.search.finished_trials import (
    HOSTILE,
    OBJECTIVES,
    SPACE,
    best,
    finished_trials,
)

ONE = {"f1": "maximize"}
COMPLETE, PRUNED = (r"<use [^>]*fill: #2563eb", r"<use [^>]*fill: #d97706")
RING, FRONT = r"<path [^>]*stroke: #111827", r"<use [^>]*stroke: #059669"


def count(pattern, picture):
    return len(re.findall(pattern, picture))


def axes(picture):
    return count(r'<g id="axes_', picture)


def test_equal_trials_draw_equal_pictures():
    trials = finished_trials()
    first, second = (draw_trials(t, OBJECTIVES, SPACE, 3) for t in (trials, trials[::-1]))
    assert first == second
    assert first.startswith("<?xml")
    ET.fromstring(first)


def test_a_picture_has_a_panel_for_the_trials_each_cost_and_each_hyperparameter():
    trials = finished_trials()
    picture = draw_trials(trials, OBJECTIVES, SPACE, best(trials))
    assert axes(picture) == 1 + 1 + len(SPACE)
    for name in ("trials", "multiply_adds", *SPACE, "mobilenet_v2"):
        assert f"<!-- {name} -->" in picture
    assert "<img" not in re.sub("<!--.*?-->", "", picture)
    assert HOSTILE not in picture


def test_without_trials_there_is_a_sentence_and_no_axes():
    picture = draw_trials([], OBJECTIVES, SPACE, None)
    assert axes(picture) == 0
    assert "search.trials in params.yaml is 0" in picture
    ET.fromstring(picture)


def test_trials_that_all_failed_are_a_sentence():
    picture = draw_trials([Trial(0, "failed", {})], ONE, {}, None)
    assert axes(picture) == 0
    assert "all of them failed" in picture


def test_pruned_trials_alone_are_drawn_without_a_best_one():
    picture = draw_trials([Trial(0, "pruned", {}, {"f1": 0.5})], ONE, {}, None)
    assert (axes(picture), count(COMPLETE, picture)) == (1, 0)
    assert "best so far" not in picture


def test_a_panel_shows_the_trials_that_chose_its_hyperparameter():
    values = [({"rate": 0.01}, 0.4), ({"momentum": 0.5}, 0.6), ({"rate": 0.02}, 0.5)]
    trials = [Trial(n, "complete", chosen, {"f1": f1}) for n, (chosen, f1) in enumerate(values)]
    log = Range(low=0.001, high=0.1, log=True)
    space = {"rate": log, "momentum": Range(low=0, high=1, log=False)}
    both = draw_trials(trials, ONE, space, 1)
    none = draw_trials(trials, ONE, {}, 1)
    # Each trial has a point in the panel of its hyperparameter, and the chosen one has a ring.
    for mark, more in ((COMPLETE, 3), (RING, 1)):
        assert count(mark, both) - count(mark, none) == more
    assert "unused" in draw_trials(trials, ONE, {"unused": log}, 1)


def test_the_panel_of_a_cost_shows_the_pareto_front():
    points = [(0.9, 40.0), (0.8, 20.0), (0.7, 30.0)]
    trials = [
        Trial(n, "complete", {}, {"f1": f1, "bytes": size}) for n, (f1, size) in enumerate(points)
    ]
    alone = draw_trials(trials, ONE, {}, 0)
    both = draw_trials(trials, {**ONE, "bytes": "minimize"}, {}, 0)
    assert count(COMPLETE, both) - count(COMPLETE, alone) == 3 + 1  # with the legend
    assert count(FRONT, both) == 2 + 1
    three = draw_trials(
        [Trial(t.number, "complete", {}, {**t.values, "ms": 1.0}) for t in trials],
        {**ONE, "bytes": "minimize", "ms": "minimize"},
        {},
        0,
    )
    assert axes(three) == 3


def test_the_best_value_follows_the_direction_of_the_objective():
    trials = [Trial(n, "complete", {}, {"loss": loss}) for n, loss in enumerate((0.5, 0.9, 0.1))]
    low, high = (draw_trials(trials, {"loss": way}, {}, 2) for way in ("minimize", "maximize"))
    assert low != high


def test_choices_are_in_the_order_of_the_space():
    trials = [Trial(n, "complete", {"x": x}, {"f1": 0.5 + n}) for n, x in enumerate("cab")]
    picture = draw_trials(trials, ONE, {"x": Choices(choices=("a", "b", "c", "d"))}, None)
    assert re.findall(r"<!-- ([a-d]) -->", picture) == ["a", "b", "c", "d"]


def test_dollars_are_no_formula():
    trials = [Trial(0, "complete", {"x": "$a$"}, {"f1": 0.5})]
    picture = draw_trials(trials, ONE, {"x": Choices(choices=("$a$", "b"))}, 0)
    assert "DejaVuSans-Oblique" not in picture  # the font of variables in formulas
