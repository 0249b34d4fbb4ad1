"""Costs of confusions: from params.yaml to a matrix, and to the arrays that training reads."""

import numpy as np
import pytest

from components.errors import UserError
from components.training_set.balance import plan
from components.training_set.costs import cost_matrix
from components.training_set.examples import Balance

NAMES = ("glass", "metal", "paper")


def test_a_pair_that_is_not_written_costs_one_and_a_right_decision_nothing() -> None:
    matrix = cost_matrix({"metal": {"glass": 5.0, "metal": 0.0}, "paper": {"metal": 0.0}}, NAMES)
    assert matrix.tolist() == [[0, 1, 1], [5, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        ({"glas": {"metal": 2.0}}, r"choose among the classes glass, metal, paper\. Received: gla"),
        ({"glass": {"wood": 2.0}}, r"Received: wood$"),
        ({"glass": {"glass": 2.0}}, r"a right decision costs 0; .* Received: glass: \{glass: …\}$"),
        (
            {a: {b: 0.0 for b in NAMES if b != a} for a in NAMES},
            r"a wrong decision must cost something; .* Received: 0 for all pairs$",
        ),
    ],
)
def test_costs_that_mean_nothing_are_answered_with_one_sentence(costs, message) -> None:
    with pytest.raises(UserError, match=r"^balance\.costs: .*" + message):
        cost_matrix(costs, NAMES)


def test_costs_of_very_many_classes_are_refused_before_memory_is_full() -> None:
    with pytest.raises(UserError, match=r"at most 2,000 classes; .* Received: 10,000 classes$"):
        cost_matrix({"0": {"1": 2.0}}, [str(number) for number in range(10_000)])


def test_the_plan_hands_the_costs_to_training() -> None:
    costs = {"glass": {"paper": 3.0}}
    tree = plan("none", NAMES, NAMES, 0.9, costs)
    assert tree["costs"] == costs
    balance = Balance.from_plan(tree)
    assert balance.costs.dtype == np.float32
    assert balance.costs.tolist() == cost_matrix(costs, NAMES).tolist()
    assert balance.for_loss("class_balanced_focal").costs is balance.costs
    assert Balance.from_plan(plan("none", NAMES, NAMES, 0.9)).costs.shape == (0, 0)
