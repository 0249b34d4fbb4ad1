"""ECE, NLL and Brier score: the values of scikit-learn and of a loop that a reader can follow."""

import json

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from components.calibration.scores import Bin, Calibration, calibration


@pytest.fixture(scope="module")
def predicted() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(4)
    probabilities = generator.dirichlet(np.full(5, 0.4), 400).astype(np.float32)
    return generator.integers(0, 5, 400), probabilities


def test_nll_and_brier_score_are_those_of_scikit_learn(predicted):
    labels, probabilities = predicted
    measured = calibration(labels, probabilities)
    scaled = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    classes = range(5)
    assert measured.nll == pytest.approx(log_loss(labels, scaled, labels=classes), rel=1e-5)
    brier = brier_score_loss(labels, scaled, labels=classes, scale_by_half=False)
    assert measured.brier == pytest.approx(brier, rel=1e-5)


def test_ece_is_what_a_loop_over_the_bins_gives(predicted):
    labels, probabilities = predicted
    error = 0.0
    for number in range(15):  # as many bins as in Guo et al., 2017
        inside = [
            (max(row), row.argmax() == label)
            for label, row in zip(labels, probabilities, strict=True)
            if number / 15 < max(row) <= (number + 1) / 15
        ]
        confidence = sum(float(sure) for sure, _ in inside)
        error += abs(sum(bool(right) for _, right in inside) - confidence) / len(labels)
    assert calibration(labels, probabilities).ece == pytest.approx(error, abs=1e-6)


def test_all_images_are_in_a_bin_and_a_bin_says_what_is_in_it():
    probabilities = np.array([[1.0, 0.0], [0.95, 0.05], [0.5, 0.5]])
    measured = calibration(np.array([0, 1, 0]), probabilities)
    assert measured.bins == (Bin(1, 0.5, 1.0), Bin(2, 0.975, 0.5))


def test_probabilities_that_are_all_right_and_sure_have_no_error():
    measured = calibration(np.array([1, 0]), np.eye(2)[[1, 0]])
    assert measured.scores == {"ece": 0, "nll": 0, "brier": 0}


@pytest.mark.parametrize(("kind", "worst"), [(np.float32, 87.3), (np.float64, 708.4)])
def test_a_label_with_a_probability_of_0_has_a_finite_nll(kind, worst):
    assert calibration(np.array([1]), np.array([[1, 0]], kind)).nll == pytest.approx(worst, 0.01)


def test_what_is_written_is_read_back(predicted):
    measured = calibration(*predicted)
    tree = json.loads(json.dumps(measured.to_tree()))
    assert Calibration.from_tree(tree).to_tree() == tree
    assert Calibration.from_tree(tree).ece == pytest.approx(measured.ece, abs=1e-6)
    assert sum(one.images for one in Calibration.from_tree(tree).bins) == 400


def test_a_bin_contains_its_upper_edge():
    """9/15 is the upper edge of the bin in which 0.55 is."""
    measured = calibration(np.array([0, 1]), np.array([[0.6, 0.4], [0.55, 0.45]]))
    assert measured.bins == (Bin(2, pytest.approx(0.575), 0.5),)
