"""Which hyperparameters matter: real forests on trials whose values come from formulas."""

import math
import random

import pytest

from components.params.search import Choices, Range
from components.search.importances import (
    FEWEST_TRIALS,
    Importances,
    importance_sentence,
    measure_importances,
)
from components.search.trial import Trial

SPACE = {
    "rate": Range(low=1e-5, high=1e-1, log=True),
    "dropout": Range(low=0.0, high=0.5, log=False),
    "pooling": Choices(choices=("avg", "max", "gem")),
}
CONDITIONAL = {
    "optimizer": Choices(choices=("adamw", "sgd")),
    "momentum": Range(low=0.1, high=0.9, log=False, when={"optimizer": ("sgd",)}),
}


def after_first(number, state, overrides, values=None):
    """Return a trial that has come to its first rung only."""
    return Trial(number, state, overrides, values or {}, first=values or {})


def draw(count, value, seed=0):
    generator = random.Random(seed)
    trials = []
    for number in range(count):
        overrides = {
            "rate": 10 ** generator.uniform(-5, -1),
            "dropout": generator.uniform(0, 0.5),
            "pooling": generator.choice(["avg", "max", "gem"]),
        }
        trials.append(
            after_first(number, "complete", overrides, {"f1": value(overrides, generator)})
        )
    return trials


def decades(overrides, _):
    """Each decade of the rate counts; a linear axis would see the last decade only."""
    return 0.5 + 0.05 * math.cos(math.log10(overrides["rate"]) * 2) + 0.01 * overrides["dropout"]


def noise(_, generator):
    return generator.random()


def test_the_hyperparameter_that_decides_has_nearly_the_whole_variance():
    found = measure_importances(draw(40, decades), "f1", SPACE, seed=1)
    assert next(iter(found.shares)) == "rate"
    assert found.shares["rate"] > 0.8
    assert sum(found.shares.values()) <= 1.01
    assert set(found.shares) == set(SPACE)
    assert found.left_out == {}
    assert importance_sentence(found).startswith("rate explains ")


def test_a_choice_can_decide():
    scores = {"avg": 0.5, "max": 0.9, "gem": 0.6}
    trials = draw(30, lambda overrides, _: scores[overrides["pooling"]])
    assert measure_importances(trials, "f1", SPACE, seed=1).shares["pooling"] > 0.9


def test_a_range_on_a_logarithmic_scale_counts_by_its_decades():
    """The value rises at 0.001: on half of all decades, but on 1 % of the range."""
    trials = draw(40, lambda overrides, _: float(overrides["rate"] > 1e-3) + overrides["dropout"])
    found = measure_importances(trials, "f1", SPACE, seed=1)
    assert found.shares["rate"] > 0.7


def test_equal_trials_give_equal_shares_in_any_order():
    trials = draw(20, decades)
    found = measure_importances(trials, "f1", SPACE, seed=3)
    assert measure_importances(trials[::-1], "f1", SPACE, seed=3) == found
    turned = dict(reversed(SPACE.items()))
    assert measure_importances(trials, "f1", turned, seed=3) == found
    assert measure_importances(trials, "f1", SPACE, seed=4) != found


@pytest.mark.parametrize("space", [SPACE, {"rate": SPACE["rate"]}])
def test_noise_has_no_shares(space):
    found = measure_importances(draw(20, noise), "f1", space, seed=1)
    assert found.shares == {}
    assert set(found.left_out) == set(space)
    assert importance_sentence(found) == (
        "no hyperparameter stands out: f1 of a trial cannot be predicted from the hyperparameters "
        "(20 complete trials)"
    )


@pytest.mark.parametrize("count", [0, 1, FEWEST_TRIALS - 1])
def test_too_few_trials_are_one_sentence(count):
    found = measure_importances(draw(count, decades), "f1", SPACE, seed=1)
    assert found.shares == {}
    there = "is" if count == 1 else "are"
    assert importance_sentence(found) == (
        "at least 10 complete trials are needed to say which hyperparameters matter, because "
        f"differences between fewer trials may be chance; there {there} {count}"
    )
    assert measure_importances(draw(FEWEST_TRIALS, decades), "f1", SPACE, 1).empty_because != (
        found.empty_because
    )


def test_trials_that_hardly_differ_are_one_sentence():
    trials = draw(12, lambda overrides, _: 0.9 + 0.004 * overrides["dropout"])
    found = measure_importances(trials, "f1", SPACE, seed=1)
    assert found.shares == {}
    assert importance_sentence(found).startswith("the trials hardly differ: f1 is 0.9")
    same = draw(12, lambda *_: 0.0)
    assert "f1 is 0 to 0 in all 12" in importance_sentence(
        measure_importances(same, "f1", SPACE, seed=1)
    )


def test_only_complete_trials_inside_of_the_space_count():
    trials = draw(20, decades)
    others = [
        after_first(20, "pruned", trials[0].overrides, {"f1": 9.0}),
        after_first(21, "failed", trials[0].overrides),
        after_first(22, "complete", trials[0].overrides, {"latency_ms": 9.0}),
        after_first(23, "complete", trials[0].overrides, {"f1": math.nan}),
        after_first(24, "complete", {**trials[0].overrides, "rate": 5.0}, {"f1": 9.0}),
        after_first(25, "complete", {**trials[0].overrides, "pooling": "min"}, {"f1": 9.0}),
        after_first(
            26, "complete", {}, {"f1": 9.0}
        ),  # the values in params.yaml, outside of the space
    ]
    expected = measure_importances(trials, "f1", SPACE, seed=1)
    assert measure_importances(trials + others, "f1", SPACE, seed=1) == expected


def test_a_hyperparameter_that_never_changes_has_a_reason_instead_of_a_share():
    trials = draw(20, decades)
    fixed = [
        after_first(trial.number, "complete", {**trial.overrides, "pooling": "gem"}, trial.values)
        for trial in trials
    ]
    found = measure_importances(fixed, "f1", SPACE, seed=1)
    assert found.left_out == {"pooling": "all trials with it have the same value"}
    assert set(found.shares) == {"rate", "dropout"}


def draw_conditional(count, momenta):
    """Return trials of which `momenta` use sgd; with it the value is higher, by the momentum."""
    trials = []
    for number in range(count):
        overrides = {"optimizer": ("adamw", "sgd")[number % 2 if number < 2 * momenta else 0]}
        value = 0.1
        if overrides["optimizer"] == "sgd":
            overrides["momentum"] = 0.1 + 0.8 * (number // 2) / (momenta - 1)
            value = 0.4 + overrides["momentum"]
        trials.append(after_first(number, "complete", overrides, {"f1": value}))
    return trials


def test_a_conditional_hyperparameter_explains_its_part_of_the_whole_variance():
    trials = draw_conditional(60, 30)
    found = measure_importances(trials, "f1", CONDITIONAL, seed=1)
    assert set(found.shares) == {"optimizer", "momentum"}
    # The variance within sgd is 0.8² / 12 = 0.053, and that of all trials is half of it plus
    # (0.9 - 0.1)² / 4 = 0.187. So the momentum explains 0.027 / 0.187, and the optimizer the rest.
    assert found.shares["momentum"] == pytest.approx(0.14, abs=0.02)
    assert found.shares["optimizer"] == pytest.approx(0.86, abs=0.02)


def test_a_conditional_hyperparameter_of_few_trials_has_a_reason_instead_of_a_share():
    found = measure_importances(draw_conditional(30, 9), "f1", CONDITIONAL, seed=1)
    assert found.left_out == {"momentum": "only 9 complete trials chose it, and 10 are needed"}
    assert set(found.shares) == {"optimizer"}
    never = measure_importances(
        draw(20, decades), "f1", {**SPACE, "momentum": CONDITIONAL["momentum"]}, seed=1
    )
    assert never.left_out == {"momentum": "only 0 complete trials chose it, and 10 are needed"}


def test_true_and_1_are_two_choices():
    space = {"mixed": Choices(choices=(1, True, "1"))}
    values = (0.2, 0.5, 0.9)
    trials = [
        after_first(
            number, "complete", {"mixed": (1, True, "1")[number % 3]}, {"f1": values[number % 3]}
        )
        for number in range(24)
    ]
    assert measure_importances(trials, "f1", space, seed=1).shares["mixed"] > 0.9


def test_the_sentence_names_three_large_shares_at_most():
    shares = {"a": 0.4, "b": 0.2, "c": 0.15, "d": 0.12, "e": 0.01}
    assert importance_sentence(Importances("f1", shares)) == (
        "a explains 40 % of the variance of f1; b 20 %; c 15 %"
    )
    assert importance_sentence(Importances("f1", {"a": 0.1, "b": 0.09})) == (
        "a explains 10 % of the variance of f1"
    )
    assert importance_sentence(Importances("f1", {"a": 0.09, "b": 0.08})) == (
        "no hyperparameter stands out: a explains most, 9 % of the variance of f1"
    )
