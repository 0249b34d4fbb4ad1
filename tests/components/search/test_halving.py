"""Successive halving: the rounds, and who goes on."""

import itertools
import math
import random

import pytest

from components.search.halving import Round, best, best_trials, rounds

CASES = list(itertools.product(range(1, 30), range(2, 6), range(1, 40)))


def test_the_rounds_are_those_of_the_paper():
    assert rounds(k=27, eta=3, epochs=81) == [
        Round(27, 3, 9),
        Round(9, 9, 3),
        Round(3, 27, 1),
        Round(1, 81, 1),
    ]


def test_a_power_of_eta_has_all_its_rounds():
    # log(243) / log(3) is 4.999... in floats.
    assert len(rounds(k=243, eta=3, epochs=243)) == 6
    assert len(rounds(k=1000, eta=10, epochs=1000)) == 4


def test_all_rounds_follow_each_other_up_to_the_full_epochs():
    for k, eta, epochs in CASES:
        plan = rounds(k, eta, epochs)
        assert plan[0].trials == k
        assert plan[-1].epochs == epochs
        assert plan[-1].go_on == 1
        for before, after in itertools.pairwise(plan):
            assert before.epochs < after.epochs
            assert before.go_on == after.trials < before.trials


def test_halving_never_costs_more_than_training_all_trials_to_their_end():
    for k, eta, epochs in CASES:
        done, cost = 0, 0
        for halving in rounds(k, eta, epochs):
            cost += halving.trials * (halving.epochs - done)
            done = halving.epochs
        assert cost <= k * epochs


@pytest.mark.parametrize(("k", "eta", "epochs"), [(0, 3, 9), (9, 1, 9), (9, 3, 0)])
def test_numbers_that_are_too_small_are_refused(k, eta, epochs):
    with pytest.raises(ValueError, match=f"Received: {k}, {epochs}, {eta}"):
        rounds(k, eta, epochs)


def test_the_finishing_order_changes_nothing():
    values = {number: random.Random(number).choice([0.7, 0.8, 0.9]) for number in range(20)}
    expected = best_trials(values, 7)
    for seed in range(20):
        finished = list(values.items())
        random.Random(seed).shuffle(finished)
        assert best_trials(dict(finished), 7) == expected


def test_ties_go_to_the_lower_number():
    assert best_trials({5: 0.5, 4: 0.5, 3: 0.4, 9: 0.6}, 2) == [9, 4]
    assert best({5: 0.5, 4: 0.5}) == 4


def test_a_trial_without_a_finite_value_never_goes_on():
    values = {0: math.nan, 1: None, 2: math.inf, 3: -math.inf, 4: -0.5}
    assert best_trials(values, 5) == [4]
    assert best(values) == 4
    assert best({0: math.nan}) is None
    assert best_trials({}, 3) == []
