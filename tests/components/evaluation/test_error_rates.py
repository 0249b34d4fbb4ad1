"""How often the gate is wrong: the rates that docs/decisions/promotion-gate.md promises."""

import numpy as np
import pytest

from components.evaluation.interval import counted_interval
from tests.benchmarks.gate import (
    EQUAL,
    GAIN,
    HARM,
    Case,
    coverage,
    decide,
    draw_predictions,
    guarded,
    significantly_better,
)

PROMISED = [case for case in (*HARM, *GAIN, *EQUAL) if case.aim]


@pytest.mark.parametrize("case", PROMISED, ids=[case.name for case in PROMISED])
def test_the_gate_is_wrong_as_seldom_as_promised(params, case):
    promoted, _ = decide(case, params.register_, 4_000)
    sign, limit = case.aim.split()
    share = 100 * promoted.mean()
    assert share <= float(limit) if sign == "≤" else share >= float(limit)


@pytest.mark.parametrize("case", [GAIN[0], GAIN[2]], ids=[GAIN[0].name, GAIN[2].name])
def test_a_better_macro_f1_is_promoted_as_often_as_promised(params, case):
    generator, promoted = np.random.default_rng(1), 0
    for seed in range(200):
        pair = draw_predictions(case, generator)
        safe = guarded(*pair, case.images, params.register_)
        promoted += safe and significantly_better(*pair, params.register_, seed)[2]
    assert 100 * promoted / 200 >= float(case.aim.split()[1])


@pytest.mark.parametrize("metric", [1, 2], ids=["balanced accuracy", "macro F1"])
def test_equal_models_are_seldom_better_by_a_permutation_test(params, metric):
    case, generator = Case("", (60, 25, 15), 0.85, 0.85), np.random.default_rng(0)
    better = [
        significantly_better(*draw_predictions(case, generator), params.register_, seed)[metric]
        for seed in range(400)
    ]
    assert np.mean(better) <= 0.045  # 0.025, and two and a half standard errors


@pytest.mark.parametrize(("images", "share"), [(270, 0.98), (270, 0.99), (100, 0.8), (20, 0.9)])
def test_intervals_of_shares_contain_the_truth_about_95_times_in_100(images, share):
    right = np.random.default_rng(0).binomial(images, share, 2_000)
    found = [counted_interval(int(count), images, 0.95) for count in right]
    held = np.mean([interval.low <= share <= interval.high for interval in found])
    assert 0.93 <= held <= 0.985


def test_intervals_of_macro_scores_contain_the_truth_about_95_times_in_100():
    held = coverage(np.array([60, 30, 10]), 0.9, 0.95, splits=300, resamples=100)
    assert all(0.91 <= share <= 0.99 for share in held)
