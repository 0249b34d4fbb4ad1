"""Plans against unequal counts, in numbers."""

import math

import pytest

from components.errors import UserError
from components.training_set.balance import counts_table, plan

LABELS = ["cat"] * 60 + ["dog"] * 30 + ["cow"] * 10
NAMES = ["cat", "cow", "dog"]


def test_none_draws_what_there_is() -> None:
    tree = plan("none", LABELS, NAMES)
    assert tree["targets"] == tree["counts"] == {"cat": 60, "cow": 10, "dog": 30}
    assert set(tree["class_weights"].values()) == {1.0}
    assert tree["log_priors"]["cow"] == pytest.approx(math.log(0.1))


def test_class_weights_are_inverse_to_counts_with_mean_one_over_images() -> None:
    tree = plan("class_weight", LABELS, NAMES)
    weights = tree["class_weights"]
    assert weights["cow"] / weights["cat"] == pytest.approx(6)
    assert sum(weights[label] for label in LABELS) / len(LABELS) == pytest.approx(1)
    assert tree["targets"] == tree["counts"]


def test_priors_are_even_where_weights_have_evened_out_the_loss() -> None:
    priors = plan("class_weight", LABELS, NAMES)["log_priors"]
    assert priors == pytest.approx(dict.fromkeys(NAMES, math.log(1 / 3)))


@pytest.mark.parametrize(("strategy", "drawn"), [("oversample", 60), ("undersample", 10)])
def test_sampling_draws_the_same_of_every_class(strategy: str, drawn: int) -> None:
    tree = plan(strategy, LABELS, NAMES)
    assert set(tree["targets"].values()) == {drawn}
    assert set(tree["class_weights"].values()) == {1.0}
    assert tree["log_priors"]["cow"] == pytest.approx(math.log(1 / 3))
    assert counts_table(tree).to_dict("records")[1] == {
        "class": "cow",
        "before": 10,
        "after": drawn,
    }


def test_a_class_without_training_images_is_refused() -> None:
    with pytest.raises(UserError, match="Received: emu"):
        plan("none", LABELS, [*NAMES, "emu"])
