import numpy as np
import pytest
from sklearn.metrics import accuracy_score, top_k_accuracy_score

from components.evaluation.interval import counted_interval
from components.evaluation.top_k import top_k_accuracy


@pytest.mark.parametrize("k", [2, 3, 9])
def test_it_is_that_of_scikit_learn(digits, k):
    found = top_k_accuracy(digits.labels, digits.probabilities, k, 0.95)
    expected = top_k_accuracy_score(digits.labels, digits.probabilities, k=k)
    assert found.value == pytest.approx(expected)
    assert found == counted_interval(round(expected * 300), 300, 0.95)


def test_equal_probabilities_are_ranked_as_the_predicted_class_is():
    labels, probabilities = np.array([0, 0, 1, 2]), np.full((4, 3), 1 / 3)
    predicted = probabilities.argmax(axis=1)
    found = [top_k_accuracy(labels, probabilities, k, 0.95).value for k in (1, 2)]
    assert found == pytest.approx([accuracy_score(labels, predicted), 3 / 4])


@pytest.mark.parametrize("k", [10, 11, 500])
def test_it_is_undefined_where_every_class_would_count(digits, k):
    assert top_k_accuracy(digits.labels, digits.probabilities, k, 0.95).value is None
