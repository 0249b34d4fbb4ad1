"""What is left out with very many classes, and that it is said."""

import time

import numpy as np
import pytest

from components.calibration.scores import calibration
from components.evaluation import curves
from components.evaluation import metrics as room
from components.evaluation.bounds import bounds
from components.evaluation.curves import (
    precision_recall_points,
    reliability_points,
    roc_points,
)
from components.evaluation.metrics import confusion, measure
from components.params.evaluate import Corruptions


def test_nothing_is_said_of_a_usual_test_split(quick):
    off = quick.model_copy(update={"corruptions": Corruptions(kinds=(), images=10)})
    assert list(bounds(off, images=380, classes=6)) == []
    assert list(bounds(off, images=380, classes=100)) == []


def test_what_costs_much_or_is_left_out_is_said_in_one_sentence_each(quick):
    asked = Corruptions(kinds=("contrast", "pixelate"), images=500)
    evaluate = quick.model_copy(update={"corruptions": asked, "resamples": 2000})
    corrupted, areas, drawn = bounds(evaluate, images=20_000, classes=10_000)
    assert corrupted.endswith(
        "2 kinds of corruption in 3 severities of 500 images are 3,000 predictions"
    )
    assert areas.startswith("ROC AUC has no intervals: 20,000 images, 10,000 classes and 2,000")
    assert drawn == "of 10,000 classes, the 100 with the most test images have curves"


def test_without_time_for_its_intervals_roc_auc_keeps_its_values(digits, quick, monkeypatch):
    def measured():
        return measure(digits.labels, digits.probabilities, digits.class_names, quick, 1)

    monkeypatch.setattr(room, "MOST_COMPARISONS", 300 * 10 * quick.resamples)
    before = measured()
    monkeypatch.setattr(room, "MOST_COMPARISONS", 300 * 10 * quick.resamples - 1)
    after = measured()
    for old, new in (
        (before.macro_roc_auc, after.macro_roc_auc),
        (before.classes[8].roc_auc, after.classes[8].roc_auc),
    ):
        assert new.value == old.value
        assert old.low is not None
        assert (new.low, new.high) == (None, None)
    assert after.macro_f1 == before.macro_f1


def test_the_largest_classes_have_curves(monkeypatch):
    monkeypatch.setattr(curves, "MOST_CURVES", 3)
    labels = np.repeat(np.arange(5), [2, 1, 3, 1, 2])
    probabilities = np.random.default_rng(0).dirichlet(np.ones(5), len(labels))
    for points in (roc_points, precision_recall_points):
        drawn = points(labels, probabilities, "abcde")["class"].unique().tolist()
        assert drawn == ["a", "c", "e"]


def test_the_reliability_curve_is_that_of_scikit_learn(digits):
    from sklearn.calibration import calibration_curve

    confidence = digits.probabilities.max(axis=1).astype(float)
    right = digits.probabilities.argmax(axis=1) == digits.labels
    accuracy, mean = calibration_curve(right, confidence, n_bins=15)
    points = reliability_points(calibration(digits.labels, digits.probabilities))
    assert points["accuracy"].tolist() == pytest.approx(accuracy, abs=1e-6)
    assert points["confidence"].tolist() == pytest.approx(mean, abs=1e-6)
    assert points["images"].sum() == 300


def test_ten_thousand_classes_need_no_matrix_of_classes_by_classes():
    """Eye matrices of 10,000 classes would need 800 MB each, and seconds."""
    labels = np.random.default_rng(1).integers(0, 10_000, 200)
    probabilities = np.full((200, 10_000), 1e-5, np.float32)
    probabilities[np.arange(200), labels] += 0.9
    start = time.process_time()
    assert calibration(labels, probabilities).brier == pytest.approx(0.01, abs=1e-3)
    assert sum(confusion(labels, probabilities.argmax(axis=1)).values()) == 200
    assert time.process_time() - start < 0.5
