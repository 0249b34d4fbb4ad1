"""The best trials are confirmed: by values on folds, in pairs with the params as written."""

import math

import pytest

from components.errors import UserError
from components.search.confirmation import choose
from tests.components.search.simulated_searches import simulate

FAILED = math.nan
AS_WRITTEN = [0.960, 0.970, 0.965]
SHARE = 0.2


def chosen(confirmed, found=None, direction="maximize"):
    return choose(confirmed, found or {}, SHARE, direction)


def test_a_gain_within_noise_leaves_the_params_as_written():
    choice = chosen({0: AS_WRITTEN, 17: [0.975, 0.962, 0.970]}, {0: 0.964, 17: 0.985})
    assert (choice.number, choice.gain) == (0, 0.0)
    assert choice.mean == pytest.approx(0.965)
    assert choice.sentences == (
        "the params as written (trial 0) were 0.964 in the search and are 0.965 (0.961 to 0.969) "
        "on 3 folds",
        "trial 17 was 0.985 in the search and is 0.969 (0.964 to 0.974) on 3 folds: its gain over "
        "trial 0 was 0.021 and is 0.004 (−0.005 to 0.013), which is within noise",
        "in brackets are intervals with a confidence level of 60%",
        "training uses the params as written",
    )


def test_values_of_the_search_are_not_compared_if_their_trials_ended_at_other_epochs():
    confirmed = {0: AS_WRITTEN, 4: [0.960, 0.970, 0.966], 17: [0.975, 0.962, 0.970]}
    found = {0: 0.72, 4: 0.73, 17: 0.985}
    written, other, far = choose(
        confirmed, found, SHARE, "maximize", {0: 0, 4: 0, 17: 32}
    ).sentences[:3]
    assert written.startswith(
        "the params as written (trial 0) were 0.720 in the search without fine-tuning and are 0.965"
    )
    assert "trial 4 was 0.730 in the search without fine-tuning and" in other
    assert "its gain over trial 0 was 0.010 and is 0.000" in other
    assert "trial 17 was 0.985 in the search after 32 epochs and is 0.969" in far
    assert "its gain over trial 0 is 0.004" in far


def test_the_interval_is_that_of_nadeau_and_bengio_at_one_side_of_80_percent():
    """By hand: differences of .01, .02, .03, s = .01, t(2) = 1.061 at 80 %, √(1/3 + .2) = .730."""
    choice = chosen({0: [0.9, 0.9, 0.9], 3: [0.91, 0.92, 0.93]})
    assert (choice.number, choice.gain) == (3, pytest.approx(0.02))
    half = 0.01 * 1.061 * 0.730
    assert (choice.low, choice.high) == pytest.approx((0.92 - half, 0.92 + half), abs=1e-5)
    assert "is 0.020 (0.012 to 0.028), which is more than noise" in choice.sentences[1]


def test_differences_are_paired_fold_by_fold():
    """One fold is much harder than the others; without pairs, no gain would be seen."""
    choice = chosen({0: [0.70, 0.90, 0.95], 1: [0.72, 0.921, 0.969]})
    assert choice.number == 1
    assert chosen({0: [0.70, 0.90, 0.95], 1: [0.969, 0.72, 0.921]}).number == 0


def test_the_best_mean_of_the_trials_that_are_better_than_noise_is_chosen():
    lucky, sure, surest = [0.99, 0.96, 0.99], [0.970, 0.980, 0.976], [0.966, 0.976, 0.971]
    choice = chosen({0: AS_WRITTEN, 1: lucky, 2: sure, 3: surest})
    assert chosen({0: AS_WRITTEN, 1: lucky}).number == 0
    assert choice.number == 2
    assert choice.sentences[-1] == "training uses trial 2, the best of 2 such trials"
    assert chosen({0: AS_WRITTEN, 9: sure, 5: sure}).number == 5


def test_a_loss_becomes_smaller():
    choice = chosen({0: [2.5, 2.4, 2.6], 2: [2.3, 2.19, 2.4]}, {0: 2.9, 2: 2.3}, "minimize")
    assert (choice.number, choice.gain) == (2, pytest.approx(0.2033, abs=1e-4))
    assert choice.high > 2  # unlike a score, it has no upper limit
    assert "its gain over trial 0 was 0.600 and is 0.203" in choice.sentences[1]
    smallest = chosen(
        {0: [2.5, 2.4, 2.6], 2: [2.3, 2.19, 2.4], 3: [1.3, 1.19, 1.4]}, {}, "minimize"
    )
    assert smallest.number == 3
    worse = chosen({0: [2.3, 2.19, 2.4], 2: [2.5, 2.4, 2.6]}, {}, "minimize")
    assert worse.number == 0
    assert worse.sentences[1].endswith("(−0.208 to −0.199), which is a loss")


def test_a_trial_that_failed_on_a_fold_is_not_chosen():
    choice = chosen({0: AS_WRITTEN, 4: [FAILED, 0.99, 0.99]}, {0: 0.96, 4: 0.99})
    assert choice.number == 0
    assert choice.sentences[1] == "trial 4 was 0.990 in the search and failed on 1 of 3 folds"


def test_if_the_params_as_written_failed_the_best_mean_is_chosen():
    confirmed = {0: [0.9, math.inf], 1: [FAILED, 0.99], 2: [0.7, 0.8], 3: [0.8, 0.8]}
    choice = chosen(confirmed, {0: FAILED, 3: 0.9})
    assert (choice.number, choice.gain) == (3, None)
    assert choice.sentences[0] == "the params as written (trial 0) failed on 1 of 2 folds"
    assert (
        choice.sentences[3]
        == "trial 3 was 0.900 in the search and is 0.800 (0.800 to 0.800) on 2 folds"
    )
    assert choice.sentences[-1].endswith("trial 3, because the params as written failed on a fold")


def test_if_every_trial_failed_it_is_one_sentence():
    with pytest.raises(UserError, match=r"^search.confirm.trials: .* Received: trials 0, 2$"):
        chosen({2: [FAILED, 0.9], 0: [0.9, FAILED]})


def test_one_fold_does_not_show_what_is_noise():
    choice = chosen({0: [0.5], 2: [0.9]}, {0: 0.5, 2: 0.9})
    assert (choice.number, choice.low, choice.high) == (0, None, None)
    assert choice.sentences == (
        "the params as written (trial 0) were 0.500 in the search and are 0.500 on 1 fold",
        "trial 2 was 0.900 in the search and is 0.900 on 1 fold: its gain over trial 0 was 0.400 "
        "and is 0.400, and one fold does not show whether it is noise",
        "training uses the params as written",
    )


def test_equal_values_are_no_gain():
    choice = chosen({0: AS_WRITTEN, 1: AS_WRITTEN, 2: [1.0, 1.0, 1.0]})
    assert choice.number == 2
    assert chosen({0: AS_WRITTEN, 1: AS_WRITTEN}).number == 0
    assert choice.sentences[1].endswith("is 0.000 (0.000 to 0.000), which is within noise")
    almost = chosen({0: AS_WRITTEN, 1: [value - 1e-4 for value in AS_WRITTEN]})
    assert "gain over trial 0 is 0.000 (0.000 to 0.000)" in almost.sentences[1]


def test_the_params_as_written_alone_are_chosen():
    choice = chosen({0: AS_WRITTEN}, {0: 0.97})
    assert (choice.number, choice.gain) == (0, 0.0)
    assert choice.sentences[-1].endswith("as written, because no other trial was confirmed")


@pytest.mark.parametrize("confirmed", [{1: [0.9, 0.9]}, {0: [0.9], 1: [0.9, 0.8]}, {0: []}])
def test_values_that_cannot_be_compared_are_refused(confirmed):
    with pytest.raises(ValueError, match="trial 0 and one value for each fold"):
        chosen(confirmed)


@pytest.mark.parametrize(
    ("kind", "worse_before", "worse_now", "kept"),
    [("none better", 0.70, 0.28, None), ("some better", 0.12, 0.06, 0.5)],
)
def test_a_worse_trial_rarely_wins_and_most_of_a_true_gain_is_kept(
    kind, worse_before, worse_now, kept
):
    """The figures of docs/decisions/no-winner-by-luck.md, with fewer searches."""
    gains, lucky = [], []
    for search in simulate(kind, trials=12, folds=3, candidates=3, searches=200):
        choice = choose(search.confirmed, search.found, search.val_to_train, "maximize")
        gains.append(search.true_gain(choice.number))
        lucky.append(search.true_gain(max(search.found, key=search.found.get)))
    share = [sum(gain < 0 for gain in found) / len(found) for found in (lucky, gains)]
    assert share[0] > worse_before
    assert share[1] < worse_now
    if kept:
        best = [search.best_gain for search in simulate(kind, 12, 3, 3, 200)]
        assert sum(gains) > max(kept * sum(best), sum(lucky))
