"""The median rule: which earlier trials it looks at, and when a trial stops."""

import math

import optuna
import pytest
from optuna.trial import TrialState

from components.search.pruning import MedianRule
from components.search.sampling import DELAY

# The trial may see the first three of these; the value of their epoch 2 has the median 0.5.
EARLIER = [0.4, 0.5, 0.6, 0.0, 0.0]
NUMBER = DELAY + 2


def rows(values, state=TrialState.COMPLETE):
    made = []
    for number, value in enumerate(values):
        row = optuna.trial.create_trial(
            state=state,
            value=value if state == TrialState.COMPLETE else None,
            intermediate_values={1: 9.0, 2: value},
        )
        row.number = number
        made.append(row)
    return made


@pytest.mark.parametrize(
    ("direction", "curve", "stops"),
    [
        ("maximize", {1: 0.1, 2: 0.49}, True),
        ("maximize", {1: 0.1, 2: 0.5}, False),
        ("maximize", {1: 0.51, 2: 0.1}, False),  # Its best value until now counts.
        ("minimize", {1: 0.9, 2: 0.51}, True),
        ("minimize", {1: 0.9, 2: 0.5}, False),
        ("minimize", {1: 0.49, 2: 0.9}, False),
        ("maximize", {1: 0.1, 2: math.nan}, True),
        ("maximize", {1: math.nan, 2: math.nan}, False),  # The training itself fails.
        ("maximize", {1: 0.1, 3: 0.1}, False),  # No other trial has this epoch.
    ],
)
def test_a_trial_stops_if_its_best_value_is_worse_than_the_median(direction, curve, stops):
    assert MedianRule(3, direction).stops(NUMBER, curve, rows(EARLIER)) is stops


def test_only_complete_trials_that_any_number_of_workers_has_finished_count():
    rule, curve = MedianRule(3, "maximize"), {2: 0.1}
    assert rule.stops(NUMBER, curve, rows(EARLIER))
    assert not rule.stops(NUMBER - 1, curve, rows(EARLIER))  # It sees two trials.
    assert not MedianRule(4, "maximize").stops(NUMBER, curve, rows(EARLIER))
    assert not rule.stops(NUMBER, curve, rows(EARLIER, TrialState.PRUNED))
    assert rule.stops(NUMBER, curve, rows(EARLIER)[::-1])
