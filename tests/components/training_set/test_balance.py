"""Plans against unequal counts, in numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from components.errors import UserError
from components.params.balance import Balance as BalanceParams
from components.params.balance import Strategy
from components.training_set.balance import counts_table
from components.training_set.balance import plan as plan_with
from components.training_set.examples import Balance

LABELS = ["cat"] * 60 + ["dog"] * 30 + ["cow"] * 10
NAMES = ["cat", "cow", "dog"]
BETA = 0.9


def plan(strategy: str, names: list[str] = NAMES) -> dict:
    return plan_with(strategy, LABELS, names, BETA)


def test_none_draws_what_there_is() -> None:
    tree = plan("none")
    assert tree["targets"] == tree["counts"] == {"cat": 60, "cow": 10, "dog": 30}
    assert set(tree["class_weights"].values()) == {1.0}
    assert tree["log_priors"]["cow"] == pytest.approx(math.log(0.1))


@pytest.mark.parametrize(
    ("strategy", "ratio"),  # of the weight of a cow to that of a cat, by hand
    [
        ("inverse_weights", 60 / 10),
        ("square_root_weights", math.sqrt(60 / 10)),
        ("effective_number_weights", (1 - 0.9**60) / (1 - 0.9**10)),
    ],
)
def test_weights_rise_as_the_method_says_with_mean_one_over_images(strategy, ratio) -> None:
    tree = plan(strategy)
    weights = tree["class_weights"]
    assert weights["cow"] / weights["cat"] == pytest.approx(ratio)
    assert sum(weights[label] for label in LABELS) / len(LABELS) == pytest.approx(1)
    assert tree["targets"] == tree["counts"]
    in_loss = {name: tree["counts"][name] * weights[name] / 100 for name in NAMES}
    assert tree["log_priors"] == pytest.approx({n: math.log(s) for n, s in in_loss.items()})


def test_priors_are_even_where_weights_have_evened_out_the_loss() -> None:
    priors = plan("inverse_weights")["log_priors"]
    assert priors == pytest.approx(dict.fromkeys(NAMES, math.log(1 / 3)))


@pytest.mark.parametrize(
    ("strategy", "drawn"),
    [("oversample", 60), ("augment_minority", 60), ("smote", 60), ("undersample", 10)],
)
def test_sampling_draws_the_same_of_every_class(strategy: str, drawn: int) -> None:
    tree = plan(strategy)
    assert set(tree["targets"].values()) == {drawn}
    assert set(tree["class_weights"].values()) == {1.0}
    assert tree["log_priors"]["cow"] == pytest.approx(math.log(1 / 3))
    assert counts_table(tree).to_dict("records")[1] == {
        "class": "cow",
        "before": 10,
        "after": drawn,
    }


def test_square_root_sampling_draws_as_many_images_but_more_of_small_classes() -> None:
    """√60 : √10 : √30 are 7.75 : 3.16 : 5.48, together 16.39."""
    assert plan("square_root_sampling")["targets"] == {"cat": 47, "cow": 19, "dog": 33}
    tiny = plan_with("square_root_sampling", ["cat"] * 7 + ["cow"] * 2, ["cat", "cow"], BETA)
    assert tiny["targets"] == {"cat": 6, "cow": 3}  # 5.86 and 3.14


def test_the_class_balanced_loss_weighs_only_what_the_strategy_has_left() -> None:
    left = plan("none")["class_balanced_weights"]
    assert left == pytest.approx(plan("effective_number_weights")["class_weights"])
    even = plan("oversample")["class_balanced_weights"]
    assert even == pytest.approx(dict.fromkeys(NAMES, 1.0))


def test_its_weights_travel_with_the_images_and_count_in_the_priors() -> None:
    none, weighted = (
        Balance.from_plan(plan(name)) for name in ("none", "effective_number_weights")
    )
    assert none.for_loss("focal") is none
    changed = replace(none, class_weights=np.array([2, 1, 1], np.float32))
    np.testing.assert_allclose(
        changed.for_loss("class_balanced_focal").class_weights,
        none.class_balanced_weights * [2, 1, 1],
    )
    changed = none.for_loss("class_balanced_focal")
    np.testing.assert_allclose(changed.class_weights, weighted.class_weights, rtol=1e-6)
    np.testing.assert_allclose(changed.log_priors, weighted.log_priors, rtol=1e-5)
    assert (changed.targets == none.targets).all()


@pytest.mark.parametrize("strategy", Strategy.__args__)
def test_a_class_without_training_images_is_refused(strategy: str) -> None:
    with pytest.raises(UserError, match=r"no weight and nothing to draw; add images.*ived: emu$"):
        plan(strategy, [*NAMES, "emu"])


def test_every_strategy_has_a_plan_that_draws_every_class() -> None:
    for strategy in Strategy.__args__:
        TypeAdapter(Strategy).validate_python(strategy)
        tree = plan(strategy)
        assert min(tree["targets"].values()) >= 10
        assert strategy == "none" or tree["log_priors"]["cow"] > math.log(0.1) + 0.1


def test_the_old_name_of_the_weights_is_answered_with_the_new_one() -> None:
    with pytest.raises(ValidationError, match="inverse_weights, which is the new name"):
        BalanceParams(strategy="class_weight", effective_number_beta=0.9)
