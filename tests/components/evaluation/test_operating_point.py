import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, precision_score, recall_score

from components.evaluation.decision import cheapest_decisions
from components.evaluation.interval import share_interval
from components.evaluation.operating_point import operating_point, point_table
from components.training_set.costs import cost_matrix

SEED = 1


def alarms(threshold_images: int = 400):
    """Honest probabilities of an alarm, and labels drawn from them."""
    generator = np.random.default_rng(5)
    alarm = generator.random(threshold_images)
    labels = (generator.random(threshold_images) < alarm).astype(int)
    return labels, np.stack([1 - alarm, alarm], axis=1)


def test_figures_are_those_of_scikit_learn_for_both_ways_to_decide(digits, quick):
    costs = cost_matrix({"8": {"3": 6.0, "1": 9.0}, "9": {"4": 0.2}}, digits.class_names)
    labels, probabilities = digits.labels, digits.probabilities
    found = operating_point(labels, probabilities, costs, digits.class_names, quick, SEED)
    decided = {
        found.most_probable: probabilities.argmax(axis=1),
        found.least_cost: np.array(
            [np.argmin([row @ costs[:, j] for j in range(10)]) for row in probabilities]
        ),
    }
    for way, classes in decided.items():
        paid = [costs[label, given] for label, given in zip(labels, classes, strict=True)]
        assert way.expected_cost.value == pytest.approx(np.mean(paid))
        assert way.expected_cost.low < np.mean(paid) < way.expected_cost.high
        assert way.accuracy.value == pytest.approx(np.mean(classes == labels))
        expected = balanced_accuracy_score(labels, classes)
        assert way.balanced_accuracy == pytest.approx(expected)
        assert way.recall == pytest.approx(recall_score(labels, classes, average=None))
        assert way.precision == pytest.approx(
            precision_score(labels, classes, average=None, zero_division=0)
        )
    first, second = decided.values()
    assert found.changed == (first != second).sum() > 0
    table = point_table(found)
    assert table["class"].tolist() == list(digits.class_names)
    assert table["given_least_cost"].tolist() == np.bincount(second, minlength=10).tolist()


def test_a_missed_alarm_that_costs_five_lowers_the_threshold_to_a_sixth(quick):
    labels, probabilities = alarms()
    costs = cost_matrix({"alarm": {"quiet": 5.0}}, ["quiet", "alarm"])
    found = operating_point(labels, probabilities, costs, ["quiet", "alarm"], quick, SEED)
    assert found.threshold == pytest.approx(1 / 6)
    expected = (probabilities[:, 1] > 1 / 6).astype(int)
    assert np.array_equal(cheapest_decisions(probabilities, costs), expected)
    assert found.least_cost.recall[1] > found.most_probable.recall[1]
    assert found.saving.low > 0  # the probabilities are honest, so it pays
    assert found.saving.value == pytest.approx(
        found.most_probable.expected_cost.value - found.least_cost.expected_cost.value
    )


def test_with_equal_costs_nothing_changes_and_the_cost_is_the_share_of_mistakes(digits, quick):
    costs = 1 - np.eye(10)
    found = operating_point(
        digits.labels, digits.probabilities, costs, digits.class_names, quick, SEED
    )
    wrong = float((digits.probabilities.argmax(axis=1) != digits.labels).mean())
    assert found.changed == 0
    assert (found.saving.low, found.saving.high) == (0, 0)
    cost = found.most_probable.expected_cost
    wilson = share_interval(wrong, 300, 0.95)
    assert cost.value == pytest.approx(wrong)
    assert (cost.low, cost.high) == pytest.approx((wilson.low, wilson.high))


def test_no_mistake_leaves_a_doubt_in_units_of_the_largest_cost(quick):
    labels = np.arange(60) % 2
    costs = cost_matrix({"a": {"b": 8.0}}, ["a", "b"])
    found = operating_point(labels, np.eye(2)[labels], costs, ["a", "b"], quick, SEED)
    cost = found.most_probable.expected_cost
    assert (cost.value, cost.low) == (0, 0)
    assert cost.high == pytest.approx(8 * 1.96**2 / (60 + 1.96**2), rel=1e-3)


def test_more_than_two_classes_have_no_single_threshold(digits, quick):
    costs = cost_matrix({"8": {"3": 6.0}}, digits.class_names)
    found = operating_point(
        digits.labels, digits.probabilities, costs, digits.class_names, quick, SEED
    )
    assert found.threshold is None
    assert "for the decision of least cost" in found.in_words()
