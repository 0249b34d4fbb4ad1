"""Balanced accuracy: the same figure in training and in evaluation, and that of scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import recall_score

from components.evaluation.bootstrap import whole_sample
from components.evaluation.scores import count_scores
from components.model.recall import balanced_accuracy


def test_balanced_accuracy_is_the_mean_recall_of_classes_present():
    labels, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 2, 1])
    assert balanced_accuracy(labels, predicted) == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize("seed", range(20))
def test_training_and_evaluation_measure_as_scikit_learn_does(seed):
    random = np.random.default_rng(seed)
    classes = int(random.integers(2, 30))
    labels, predicted = random.integers(0, classes, (2, 200))
    expected = recall_score(labels, predicted, labels=np.unique(labels), average="macro")
    assert balanced_accuracy(labels, predicted) == pytest.approx(expected, abs=1e-12)
    scores = count_scores(labels, predicted, classes, whole_sample(200))
    assert scores["balanced_accuracy"][0] == pytest.approx(expected, abs=1e-12)
