"""The study that Optuna draws: the trials of Fovea, with names and choices for plotly."""

from dataclasses import replace

import optuna

from components.params.search import Choices, Range
from components.search.picture_study import Axis, escaped, pareto_front, picture_study
from components.search.trial import Trial
from tests.components.search.finished_trials import (
    HOSTILE,
    OBJECTIVES,
    RATE,
    SPACE,
    finished_trials,
)


def test_the_study_has_the_complete_trials_under_their_numbers():
    trials = finished_trials()
    study = picture_study(trials[::-1], OBJECTIVES, SPACE)
    shown = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    complete = [trial for trial in trials if trial.state == "complete"]
    assert [trial.number for trial in shown] == [trial.number for trial in complete]
    for ours, theirs in zip(complete, shown, strict=True):
        assert theirs.values == list(ours.values.values())
        assert theirs.params[RATE] == ours.overrides[RATE]
        assert set(theirs.params) == set(ours.overrides)
    assert study.directions == [
        optuna.study.StudyDirection.MAXIMIZE,
        optuna.study.StudyDirection.MINIMIZE,
    ]


def test_a_trial_without_a_value_of_all_objectives_is_left_out():
    trials = finished_trials()[1:4]
    first, second, third = trials
    trials = [
        replace(first, values={"val_macro_f1": 0.5}),
        replace(second, values=second.values | {"multiply_adds": float("nan")}),
        third,
    ]
    states = [trial.state.name for trial in picture_study(trials, OBJECTIVES, SPACE).trials]
    assert states == ["FAIL", "FAIL", "FAIL", "COMPLETE"]


def test_choices_that_look_the_same_stay_different():
    axis = Axis("train.flag", SPACE["train.flag"], [])
    assert axis.labels == ["true", "true (2)", "1"]
    assert [axis.place(value) for value in ("true", True, 1)] == [0, 1, 2]
    long = [f"{'a' * 30}{letter}{'z' * 30}" for letter in "bc"]
    labels = Axis("x", Choices(choices=tuple(long)), []).labels
    assert labels == ["aaaaaaaaaaaa…zzzzzzzzzzzz", "aaaaaaaaaaaa…zzzzzzzzzzzz (2)"]


def test_an_axis_has_a_place_for_values_outside_of_the_space():
    trials = [Trial(0, "complete", {"a": 0.1, "b": 5.0, "c": "all"})]
    assert Axis("a", SPACE["model.dropout"], trials).labels == [0.4, 0.0, 0.2, 0.1]
    line = Axis("b", Range(low=0, high=1, log=False), trials)
    assert (line.low, line.high) == (0, 5.0)
    assert not line.shows("all")
    assert not line.shows(True)
    assert line.shows(0)
    assert not Axis("b", Range(low=0.1, high=1, log=True), trials).shows(0)
    # A word among numbers has no place, but the trial is drawn with its other hyperparameters.
    space = {name: Range(low=0, high=1, log=False) for name in "abc"}
    trial = replace(trials[0], values={"f1": 0.5})
    [shown] = picture_study([trial], {"f1": "maximize"}, space).trials
    assert shown.params == {"a": 0.1, "b": 5.0}


def test_plotly_gets_no_markup():
    shown = picture_study(finished_trials(), OBJECTIVES, SPACE).trials
    values = {trial.params["model.backbone"] for trial in shown if trial.params}
    assert values == {"mobilenet_v2", '&lt;/script&gt;&lt;im…="alert(1)"&gt;'}
    assert HOSTILE not in values
    assert escaped("<b>\n") == r"&lt;b&gt;\n"


def test_no_trial_of_the_front_is_dominated():
    trials = finished_trials()
    front = pareto_front(trials, OBJECTIVES)
    measured = [trial for trial in trials if trial.state == "complete"]

    def dominates(one, other):
        pairs = [
            (one.values["val_macro_f1"], other.values["val_macro_f1"]),
            (other.values["multiply_adds"], one.values["multiply_adds"]),
        ]
        return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

    assert front == [
        trial.number for trial in measured if not any(dominates(other, trial) for other in measured)
    ]
    assert 1 < len(front) < len(measured)
