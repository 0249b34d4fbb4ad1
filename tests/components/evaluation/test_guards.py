import time
import tracemalloc
from itertools import product
from math import comb

import numpy as np
import pytest

from components.evaluation import paired
from components.evaluation.bootstrap import whole_sample
from components.evaluation.guards import allowed_loss, changes, doubtful, doubts, images_needed
from components.evaluation.paired import (
    difference_interval,
    drop_excluded,
    drop_limit,
    macro_score,
    permutation_test,
    sign_test,
)
from components.evaluation.scores import count_scores


def doubt(lost, gained, images, limit=0.05) -> bool:
    return bool(doubts(np.array([lost]), np.array([gained]), np.array([images]), limit, 0.95)[0])


def test_tangos_interval_of_many_images_is_that_of_the_literature():
    # Agresti, Categorical Data Analysis, 2002, section 10.1.1: 86 and 150 of 1,600 changed.
    found = difference_interval(lost=150, gained=86, images=1600, confidence=0.95)
    assert (found.low, found.high) == pytest.approx((-0.0587, -0.0213), abs=0.0005)


def test_the_ends_of_tangos_interval_solve_his_equation():
    # Under a drop d, q is the share of gained images: the root of Tango's likelihood equation.
    lost, gained, images, limit = 5, 2, 60, float(drop_limit(5, 2, 60, 0.95))
    q = np.linspace(0, (1 - limit) / 2, 400_002)[1:-1]
    likelihood = lost * np.log(q + limit) + gained * np.log(q)
    likelihood += (images - lost - gained) * np.log(1 - 2 * q - limit)
    best = q[np.argmax(likelihood)]
    variance = images * (2 * best + limit * (1 - limit))
    assert (images * limit - lost + gained) / variance**0.5 == pytest.approx(1.96, abs=0.001)


def test_a_difference_of_all_images_has_an_interval():
    for images in (1, 3, 5, 1_000):
        found = difference_interval(lost=0, gained=images, images=images, confidence=0.95)
        assert -1 < found.low < found.value == found.high == 1


@pytest.mark.parametrize("images", [1, 25])
def test_without_a_changed_image_the_limit_is_that_of_wilson(images):
    assert drop_limit(0, 0, images, 0.95) == pytest.approx(1.96**2 / (images + 1.96**2), abs=1e-5)


def test_a_drop_is_excluded_from_its_limit_on():
    limit = float(drop_limit(5, 2, 60, 0.95))
    assert not drop_excluded(5, 2, 60, limit - 0.001, 0.95)
    assert drop_excluded(5, 2, 60, limit + 0.001, 0.95)
    assert not drop_excluded(5, 2, 60, 0.01, 0.95)  # below the measured drop


@pytest.mark.parametrize(
    ("lost", "gained", "images", "expected"),
    [
        (0, 0, 8, False),
        (1, 0, 26, True),
        (1, 0, 27, False),
        (2, 1, 27, False),
        (2, 0, 66, True),
        (2, 0, 67, False),
        (3, 0, 106, True),
        (3, 0, 107, False),
        (4, 0, 120, True),
        (4, 0, 300, False),  # non-inferior: a drop above 0.05 is excluded
        (20, 0, 300, True),
        (9, 9, 60, False),
    ],
)
def test_harm_is_excluded_as_far_as_the_images_can(lost, gained, images, expected):
    assert doubt(lost, gained, images) is expected


def test_a_limit_of_zero_allows_no_loss():
    assert doubt(1, 0, 100_000, limit=0.0)
    assert not doubt(1, 1, 100_000, limit=0.0)


def test_one_image_may_be_lost_in_one_of_twenty_small_groups():
    for groups, losing, expected in ((19, 1, 1), (20, 1, 0), (39, 2, 2), (40, 2, 0)):
        lost = np.array([1] * losing + [0] * (groups - losing))
        found = doubts(lost, np.zeros(groups, int), np.full(groups, 20), 0.05, 0.95)
        assert found.sum() == expected
    two_images = np.array([2] + [0] * 39)
    assert doubts(two_images, np.zeros(40, int), np.full(40, 20), 0.05, 0.95).sum() == 1


def test_a_large_group_that_lost_an_image_takes_nothing_from_the_small_groups():
    lost = np.array([1] + [0] * 19 + [1])
    images = np.array([20] * 20 + [300])
    assert not doubts(lost, np.zeros(21, int), images, 0.05, 0.95).any()


def test_several_comparisons_at_once_are_judged_one_by_one():
    lost, images = np.eye(3, 20, dtype=int), np.full(20, 20)
    assert not doubts(lost, np.zeros((3, 20), int), images, 0.05, 0.95).any()


def test_any_named_set_of_images_is_a_group():
    old = np.ones(60, bool)
    new = np.arange(60) >= 5
    night = np.arange(60) < 30
    groups = {"images at night": night, "images by day": ~night, "no image": np.zeros(60, bool)}
    found = list(changes(old, new, groups, 0.05, 0.95))
    assert [(g.name, g.lost, g.gained, g.images) for g in found] == [
        ("images at night", 5, 0, 30),
        ("images by day", 0, 0, 30),
    ]
    assert [group.name for group in doubtful(found)] == ["images at night"]
    assert found[0].lowest < 5 / 30 < found[0].highest


def test_a_single_group_is_judged_alone():
    every = np.ones(30, bool)
    (group,) = changes(every, np.arange(30) >= 5, {"all": every}, 0.05, 0.95)
    assert doubtful([group]) == [group]


@pytest.mark.parametrize(("lost", "gained"), [(1, 0), (3, 1)])
def test_the_needed_images_exclude_the_limit_and_one_less_does_not(lost, gained):
    needed = images_needed(lost, gained, 60, 0.05, 0.95)
    for images, excluded in ((needed, True), (needed - 1, False)):
        scale = images / 60
        assert drop_excluded(lost * scale, gained * scale, images, 0.05, 0.95) == excluded


def test_no_number_of_images_excludes_a_limit_that_was_measured():
    assert images_needed(3, 0, 60, 0.05, 0.95) is None


def test_the_allowed_loss_grows_with_the_limit():
    assert allowed_loss(20, 0.05) == 0
    assert allowed_loss(20, 0.2) == 2
    assert allowed_loss(10_000, 0.05) == 3


def test_the_sign_test_is_scipys():
    from scipy.stats import binomtest

    for gained, lost in ((4, 0), (6, 0), (9, 3), (3, 9), (40, 31)):
        expected = binomtest(gained, gained + lost, alternative="greater").pvalue
        assert sign_test(gained, lost) == pytest.approx(expected)


def test_the_sign_test_is_the_exact_tail_of_the_binomial_distribution():
    for gained in (*range(12), 40, 100, 300):
        for lost in (*range(12), 40, 100, 300):
            changed = gained + lost
            tail = sum(comb(changed, count) for count in range(gained, changed + 1)) / 2**changed
            assert sign_test(gained, lost) == pytest.approx(tail, rel=1e-12, abs=0)


def test_the_sign_test_of_a_million_changed_images_takes_no_time():
    start = time.perf_counter()
    assert sign_test(501_000, 499_000) == pytest.approx(0.0228, abs=0.0001)
    assert time.perf_counter() - start < 1


def test_many_classes_and_images_need_little_memory():
    # A dense matrix of images by classes has 400 MB here, and the tests used several of them.
    labels = np.arange(100_000) % 1_000
    new, old = labels.copy(), labels.copy()
    new[:5_000] += 1
    old[5_000:10_500] += 1
    tracemalloc.start()
    scores = count_scores(labels, new, 1_001, whole_sample(len(labels)))
    p = permutation_test(labels, new, old, 1_001, "macro_f1", 100, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert scores["accuracy"] == pytest.approx([0.95])
    assert p == pytest.approx(1 / 101)
    assert peak < 100e6


def test_a_permutation_test_of_balanced_classes_agrees_with_the_sign_test():
    # With equal classes, balanced accuracy is accuracy, so both tests are about the same counts.
    labels = np.arange(300) % 3
    old, new = labels.copy(), labels.copy()
    old[:14] = (old[:14] + 1) % 3
    new[14:18] = (new[14:18] + 1) % 3
    p = permutation_test(labels, new, old, 3, "balanced_accuracy", 20_000, seed=0)
    assert p == pytest.approx(sign_test(14, 4), abs=0.003)
    assert permutation_test(labels, new, new, 3, "macro_f1", 100, seed=0) == 1


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_a_permutation_test_is_that_of_all_exchanges(metric):
    labels = np.repeat([0, 1, 2], [7, 5, 2])
    new = np.array([0, 2, 0, 0, 0, 0, 0, 1, 0, 2, 1, 1, 2, 2])
    old = np.array([0, 1, 0, 1, 0, 0, 0, 1, 1, 0, 1, 0, 2, 2])

    def score(predicted):
        """The mean over the classes of hits / images, or of 2 * hits / (predictions + images)."""
        hits = [((labels == index) & (predicted == index)).sum() for index in range(3)]
        images, given = np.bincount(labels), np.bincount(predicted)
        whole = images if metric == "balanced_accuracy" else (given + images) / 2
        return np.mean(hits / whole)

    advantages, changed = [], np.flatnonzero(new != old)
    for exchanged in product((False, True), repeat=len(changed)):
        one, other = new.copy(), old.copy()
        at = changed[list(exchanged)]
        one[at], other[at] = old[at], new[at]
        advantages.append(score(one) - score(other))
    exact = np.mean(np.array(advantages) >= advantages[0] - 1e-9)
    p = permutation_test(labels, new, old, 3, metric, 20_000, seed=0)
    assert p == pytest.approx(exact, abs=0.015)


def test_a_permutation_test_counts_the_draws_of_its_last_block_once(monkeypatch):
    monkeypatch.setattr(paired, "HELD_AT_ONCE", 90)  # 30 draws of three classes at once
    labels = np.arange(300) % 3
    assert permutation_test(labels, labels, labels, 3, "macro_f1", 100, seed=0) == 1


def test_a_class_of_one_image_is_a_part_of_a_macro_score():
    hits, given, support = np.array([4, 0, 0]), np.array([5, 0, 0]), np.array([4, 1, 0])
    assert macro_score("balanced_accuracy", hits, given, support) == 0.5
