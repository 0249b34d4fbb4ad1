"""Successive halving: the rounds, and who goes on."""

import itertools
import math
import random
from fractions import Fraction

import pytest

from components.search.halving import Round, best_trials, rounds

CASES = list(itertools.product(range(1, 40), range(2, 6)))


def test_the_rounds_are_those_of_the_paper():
    shares = [Fraction(1, 27), Fraction(1, 9), Fraction(1, 3), Fraction(1)]
    assert rounds(k=27, eta=3) == list(map(Round, [27, 9, 3, 1], shares))


def test_a_power_of_eta_has_all_its_rounds():
    # log(243) / log(3) is 4.999... in floats.
    assert len(rounds(k=243, eta=3)) == 6
    assert len(rounds(k=1000, eta=10)) == 4


def test_all_rounds_follow_each_other_up_to_all_epochs():
    for k, eta in CASES:
        plan = rounds(k, eta)
        assert plan[0].trials == k
        assert plan[-1].share == 1
        for before, after in itertools.pairwise(plan):
            assert after.share == eta * before.share
            assert 1 <= after.trials < before.trials


def test_every_round_trains_at_least_an_epoch_and_never_more_than_all():
    for (k, eta), epochs in itertools.product(CASES, (1, 2, 7, 32)):
        until = [halving.until(epochs) for halving in rounds(k, eta)]
        assert until == sorted(until)
        assert (until[0] >= 1, until[-1]) == (True, epochs)


def test_without_finalists_there_is_no_round():
    assert rounds(k=0, eta=2) == []


@pytest.mark.parametrize(("k", "eta"), [(-1, 3), (9, 1)])
def test_numbers_that_are_too_small_are_refused(k, eta):
    with pytest.raises(ValueError, match=f"Received: {k}, {eta}"):
        rounds(k, eta)


def test_the_finishing_order_changes_nothing():
    values = {number: random.Random(number).choice([0.7, 0.8, 0.9]) for number in range(20)}
    expected = best_trials(values, 7)
    for seed in range(20):
        finished = list(values.items())
        random.Random(seed).shuffle(finished)
        assert best_trials(dict(finished), 7) == expected


def test_ties_go_to_the_lower_number():
    assert best_trials({5: 0.5, 4: 0.5, 3: 0.4, 9: 0.6}, 2) == [9, 4]


def test_a_trial_without_a_finite_value_never_goes_on():
    values = {0: math.nan, 1: None, 2: math.inf, 3: -math.inf, 4: -0.5}
    assert best_trials(values, 5) == [4]
    assert best_trials({}, 3) == []
