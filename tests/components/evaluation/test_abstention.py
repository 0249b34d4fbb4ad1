import numpy as np
import pytest

from components.evaluation.abstention import COLUMNS, abstention
from components.evaluation.interval import share_interval


def test_the_curve_is_what_a_loop_over_the_answered_images_gives(digits):
    labels, probabilities = digits.labels, digits.probabilities
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[order]
    accuracy = [right[:count].mean() for count in range(1, 301)]
    found = abstention(labels, probabilities, 0.95)
    assert found.aurc == pytest.approx(np.mean(1 - np.array(accuracy)), abs=1e-5)
    curve = found.curve
    assert tuple(curve) == COLUMNS
    assert len(curve) == 101
    assert curve["answered"].is_monotonic_increasing
    for row in curve.itertuples():
        assert row.accuracy == pytest.approx(accuracy[row.images - 1], abs=1e-5)
        assert row.answered == pytest.approx(row.images / 300, abs=1e-6)
        assert row.confidence == pytest.approx(
            np.sort(probabilities.max(axis=1))[-row.images], abs=1e-6
        )
    last = curve.iloc[-1]
    expected = share_interval(right.mean(), 300, 0.95)
    assert (last.answered, last.accuracy_low, last.accuracy_high) == pytest.approx(
        (1, expected.low, expected.high), abs=1e-6
    )


def test_images_of_equal_confidence_do_not_depend_on_their_order():
    labels = np.array([0, 1, 0, 1, 1])
    probabilities = np.array([[0.6, 0.4]] * 4 + [[0.1, 0.9]])
    turned = abstention(labels[::-1], probabilities[::-1], 0.95)
    found = abstention(labels, probabilities, 0.95)
    assert found.curve.equals(turned.curve)
    expected = np.mean([0, 1 / 4, 1 / 3, 3 / 8, 2 / 5])
    assert found.aurc == turned.aurc == pytest.approx(expected, abs=1e-6)


def test_sure_mistakes_cost_more_than_unsure_ones():
    sure, unsure = np.array([0.9, 0.8, 0.7, 0.6]), np.array([0.6, 0.7, 0.8, 0.9])
    labels = np.array([1, 0, 0, 0])
    areas = [
        abstention(labels, np.stack([confidence, 1 - confidence], axis=1), 0.95).aurc
        for confidence in (sure, unsure)
    ]
    assert areas == pytest.approx([np.mean([1, 1 / 2, 1 / 3, 1 / 4]), 1 / 16], abs=1e-6)
