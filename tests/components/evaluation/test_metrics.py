import json
import warnings

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
)

from components.errors import UserError
from components.evaluation.bootstrap import draw_resamples, equal_weight_images, whole_sample
from components.evaluation.interval import counted_interval, share_interval
from components.evaluation.metrics import PER_CLASS, Metrics, measure
from components.evaluation.scores import roc_auc

SEED = 3


def expected_per_class(labels, predicted, classes):
    """scikit-learn's figures of the classes that occur, one row a metric."""
    return np.array(
        precision_recall_fscore_support(
            labels, predicted, labels=classes, average=None, zero_division=0
        )[:3]
    )


def one_hot(predicted, classes):
    return np.eye(classes, dtype=np.float32)[predicted]


def values(metrics: Metrics, what: str):
    return [getattr(found, what).value for found in metrics.classes]


def test_point_values_are_those_of_scikit_learn(digits, quick):
    labels, probabilities = digits.labels, digits.probabilities
    metrics = measure(labels, probabilities, digits.class_names, quick, SEED)
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1 = expected_per_class(labels, predicted, np.arange(10))
    areas = [roc_auc_score(labels == i, probabilities[:, i]) for i in range(10)]
    assert metrics.accuracy.value == pytest.approx(accuracy_score(labels, predicted))
    assert metrics.balanced_accuracy.value == pytest.approx(
        balanced_accuracy_score(labels, predicted)
    )
    assert values(metrics, "precision") == pytest.approx(precision)
    assert values(metrics, "recall") == pytest.approx(recall)
    assert values(metrics, "f1") == pytest.approx(f1)
    assert values(metrics, "roc_auc") == pytest.approx(areas)
    assert metrics.macro_f1.value == pytest.approx(f1.mean())
    assert metrics.macro_precision.value == pytest.approx(precision.mean())
    assert metrics.macro_roc_auc.value == pytest.approx(np.mean(areas))
    matrix = np.zeros((10, 10), int)
    for cell, images in metrics.confusion.items():
        matrix[cell] = images
    assert np.array_equal(matrix, confusion_matrix(labels, predicted))


def test_scores_of_resamples_are_those_of_scikit_learn_on_repeated_images(digits):
    times = next(draw_resamples(digits.labels, 20, SEED))
    drawn = np.repeat(np.arange(len(times)), times[:, 7].astype(int))
    area = roc_auc(digits.labels == 8, digits.probabilities[:, 8], times)[7]
    expected = roc_auc_score(digits.labels[drawn] == 8, digits.probabilities[drawn, 8])
    assert area == pytest.approx(expected)


def test_tied_scores_count_half_in_roc_auc():
    labels, scores = np.array([0, 1, 0, 1, 1, 0]), np.array([0.2, 0.2, 0.2, 0.7, 0.1, 0.7])
    area = roc_auc(labels == 1, scores, whole_sample(6))[0]
    assert area == pytest.approx(roc_auc_score(labels, scores))


def test_a_class_without_test_images_is_null_and_left_out_of_averages(quick):
    labels, predicted = np.array([0, 0, 1, 1, 1, 0] * 10), np.array([0, 2, 1, 1, 0, 0] * 10)
    metrics = measure(labels, one_hot(predicted, 3), ["a", "b", "c"], quick, SEED)
    absent = metrics.classes[2]
    assert absent.support == 0
    assert {getattr(absent, what).value for what in PER_CLASS} == {None}
    precision, _, f1 = expected_per_class(labels, predicted, [0, 1])
    assert metrics.macro_f1.value == pytest.approx(f1.mean())
    assert metrics.macro_precision.value == pytest.approx(precision.mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of the class that is not there
        expected = balanced_accuracy_score(labels, predicted)
    assert metrics.balanced_accuracy.value == pytest.approx(expected) == metrics.macro_recall.value


def test_a_class_never_predicted_has_precision_and_f1_zero(quick):
    labels, predicted = np.array([0, 1, 2] * 20), np.array([0, 1, 0] * 20)
    metrics = measure(labels, one_hot(predicted, 3), ["a", "b", "c"], quick, SEED)
    never = metrics.classes[2]
    assert (never.precision.value, never.recall.value, never.f1.value) == (0, 0, 0)
    assert values(metrics, "f1") == pytest.approx(
        expected_per_class(labels, predicted, range(3))[2]
    )


def test_roc_auc_of_the_only_class_is_null_and_the_json_has_no_nan(quick):
    metrics = measure(np.zeros(9, int), one_hot(np.zeros(9, int), 2), ["a", "b"], quick, SEED)
    tree = json.loads(json.dumps(metrics.to_tree(), allow_nan=False))
    assert tree["macro_roc_auc"] is None
    assert metrics.classes[0].roc_auc.value is None
    assert tree["accuracy"] == 1
    assert "macro_roc_auc" not in metrics.to_flat()


def test_equal_arguments_give_equal_figures_and_another_seed_other_intervals(digits, quick):
    def measured(seed):
        return measure(digits.labels, digits.probabilities, digits.class_names, quick, seed)

    assert measured(1) == measured(1)
    assert measured(1).accuracy.value == measured(2).accuracy.value
    assert measured(1).classes[8].f1 != measured(2).classes[8].f1


def test_shares_of_images_have_wilsons_interval_of_their_own_images(quick):
    # Class a: 12 of 20 images are right, and 5 others are called a. Class b: 25 of 30.
    labels = np.repeat([0, 1], [20, 30])
    predicted = np.repeat([0, 1, 0, 1], [12, 8, 5, 25])
    metrics = measure(labels, one_hot(predicted, 2), ["a", "b"], quick, SEED)
    a, b = metrics.classes
    assert metrics.accuracy == counted_interval(37, 50, 0.95)
    assert (a.recall, a.precision) == (
        counted_interval(12, 20, 0.95),
        counted_interval(12, 17, 0.95),
    )
    assert (b.recall, b.precision) == (
        counted_interval(25, 30, 0.95),
        counted_interval(25, 33, 0.95),
    )


def test_the_ends_of_wilsons_interval_are_1_96_standard_errors_from_the_share():
    found = counted_interval(37, 50, 0.95)
    for end in (found.low, found.high):
        assert abs(37 / 50 - end) == pytest.approx(
            1.959964 * (end * (1 - end) / 50) ** 0.5, abs=1e-6
        )


def test_macro_scores_of_equal_classes_are_about_as_exact_as_a_share(digits, params):
    metrics = measure(digits.labels, digits.probabilities, digits.class_names, params.evaluate, 1)
    share = share_interval(metrics.balanced_accuracy.value, 300, 0.95)
    for score in (metrics.balanced_accuracy, metrics.macro_f1):
        assert score.low == pytest.approx(share.low, abs=0.01)
        assert score.high == pytest.approx(share.high, abs=0.01)


def test_every_resample_draws_as_many_images_of_each_class_as_there_are(monkeypatch):
    labels = np.random.default_rng(0).permutation(np.arange(10_000) % 2 * 2)
    (whole,) = draw_resamples(labels, 5, SEED)
    monkeypatch.setattr("components.evaluation.bootstrap.HELD_AT_ONCE", 20_000)
    blocks = list(draw_resamples(labels, 5, SEED))
    assert len(blocks) > 1
    assert np.array_equal(np.concatenate(blocks, axis=1), whole)
    for images in (labels == 0, labels == 2):
        drawn = np.concatenate([block[images].sum(axis=0) for block in blocks])
        assert drawn.tolist() == [5_000] * 5


def test_many_classes_make_the_blocks_smaller_too(monkeypatch):
    monkeypatch.setattr("components.evaluation.bootstrap.HELD_AT_ONCE", 1_000)
    assert [block.shape for block in draw_resamples(np.array([0, 499]), 5, SEED)] == [
        (2, 2),
        (2, 2),
        (2, 1),
    ]


def test_probabilities_that_are_not_finite_are_refused(digits, quick):
    broken = digits.probabilities.copy()
    broken[4, 2] = np.nan
    with pytest.raises(UserError, match=r"NaN or infinity for 1 of 300 images$"):
        measure(digits.labels, broken, digits.class_names, quick, SEED)


def test_mlflow_gets_no_metric_of_a_class(digits, quick):
    flat = measure(digits.labels, digits.probabilities, digits.class_names, quick, SEED).to_flat()
    assert {"accuracy", "accuracy_low", "macro_roc_auc_high", "ece"} <= set(flat)
    assert len(flat) == 3 * 6 + 3  # six metrics with both ends, three scores of calibration


def test_no_mistakes_leave_a_doubt_that_the_bootstrap_cannot_see(params):
    labels = np.arange(300) % 3
    metrics = measure(labels, np.eye(3)[labels], ["a", "b", "c"], params.evaluate, 7)
    assert metrics.accuracy.value == metrics.accuracy.high == 1
    assert metrics.accuracy.low == pytest.approx(300 / (300 + 1.96**2), abs=1e-5)  # Wilson, 1927
    assert metrics.classes[0].recall.low == pytest.approx(100 / (100 + 1.96**2), abs=1e-5)
    assert metrics.macro_f1 == metrics.accuracy  # classes of the same size: 300 effective images
    f1 = metrics.classes[0].f1
    assert (f1.value, f1.low, f1.high) == (1, None, None)


def test_a_class_never_recognised_has_a_recall_of_at_most_a_little(params):
    labels = np.array([0] * 50 + [1] * 20)
    metrics = measure(labels, np.eye(2)[np.zeros(70, int)], ["a", "b"], params.evaluate, 7)
    assert metrics.classes[1].recall.low == metrics.classes[1].recall.value == 0
    assert metrics.classes[1].recall.high == pytest.approx(1.96**2 / (20 + 1.96**2), abs=1e-4)


def test_small_classes_widen_the_interval_of_macro_scores():
    assert equal_weight_images(np.array([100, 100, 0])) == 200
    assert equal_weight_images(np.array([190, 10])) == pytest.approx(38)


def test_one_mistake_leaves_both_ends_open(params):
    labels = np.arange(300) % 3
    probabilities = np.eye(3)[labels]
    probabilities[0] = [0, 1, 0]
    accuracy = measure(labels, probabilities, ["a", "b", "c"], params.evaluate, 7).accuracy
    assert accuracy.low < accuracy.value < accuracy.high < 1
