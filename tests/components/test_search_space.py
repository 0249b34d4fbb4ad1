"""search.space and search.start: what is wrong with an entry, a condition or a point."""

import re

import pytest
import yaml

from components.errors import UserError
from components.params.search import Choices, Range, is_one_of, suggestion_order
from tests.cards import DIGITS

RATE = "train.finetune.learning_rate"
EPOCHS = "train.finetune.epochs"


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            "{model.l1: {low: 0, high: 1, log: true}}",
            "model.l1: low must be above 0 if log is true",
        ),
        ("{model.l1: {low: 0.5, high: 0.5, log: false}}", "model.l1: low must be below high. Rec"),
        (
            "{model.l1: {choices: [0.5]}}",
            "model.l1: one value only is no choice; add another value",
        ),
        ("{model.l1: {choices: [0.5, 0, 0.5]}}", "model.l1: a value is written twice in `choices`"),
        ("{model.l1: {choices: [1, 0.5, 1.0]}}", "model.l1: a value is written twice in `choices`"),
        (
            "{model.l1: {low: 0.1, high: 0.5, log: false, step: 0.5}}",
            "model.l1: step must be at most high - low; write a smaller step. Received: {low: 0.1,",
        ),
        (
            "{model.l1: {low: 0.1, high: 0.5, log: false, step: 0.15}}",
            "model.l1: step must divide high - low, because the last value would be 0.4; write "
            "`high: 0.4`, or another step. Received: {low: 0.1, high: 0.5, log: false, "
            "step: 0.15}",
        ),
        (
            "{train.batch_size: {low: 8, high: 64, log: false, step: 10}}",
            "train.batch_size: step must divide high - low, because the last value would be 58;",
        ),
        (
            "{model.l1: {low: 0.1, high: 0.5, log: true, step: 0.1}}",
            "model.l1: a logarithmic scale has no step; remove `step`, or write `log: false`",
        ),
        (
            "{model.l1: {low: 0.0, high: 1.0, log: false, step: 0.0001}}",
            "model.l1: step gives more than 10000 values; write a larger step",
        ),
        (
            "{model.l1: {low: 0.0, high: 1.0, log: false, step: 0}}",
            "model.l1.step should be greater than 0. Received: 0",
        ),
        (
            "{train.accumulate: {low: 1.5, high: 4, log: false}}",
            "train.accumulate.low should be a valid integer, because train.accumulate is one; "
            "write an integer, or use choices. Received: 1.5",
        ),
        (
            "{train.accumulate: {low: 1, high: 4, log: false, step: 0.5}}",
            "train.accumulate.step should be a valid integer, because train.accumulate is one;",
        ),
        (
            f"{{train.accumulate: {{low: 1, high: {10**20}, log: false}}}}",
            "train.accumulate.high should be at most 9007199254740992; write less. Received: 1000",
        ),
        ("{model.l1: {choices: [0.1, 0.2], step: 0.1}}", "model.l1.step is not a known key"),
        ("{model.l1: {choices: [0.1, 0.2], when: 3}}", "model.l1.when should be a section with"),
        (
            "{model.l1: {choices: [0.1, 0.2], when: {}}}",
            "model.l1.when should have at least one va",
        ),
        (
            "{model.l1: {choices: [0.1, 0.2], when: {model.l2: []}}}",
            "model.l1.when.model.l2 should have at least one value. Received: []",
        ),
    ],
)
def test_an_entry_that_gives_other_values_than_it_says_is_one_sentence(space, message, read_search):
    with pytest.raises(UserError) as refused:
        read_search(space)
    assert f"params.yaml: search.space.{message}" in str(refused.value)
    assert str(refused.value).count("Received: ") == 1


POOLING = "model.pooling: {choices: [avg, max, gem]}"


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            "{model.l1: {choices: [0.1, 0.2], when: {model.l2: [0.1]}}}",
            r"\.model\.l1\.when never holds, because model\.l2 is not in the search space; .* "
            r"Received: \{model\.l2: \[0\.1\]\}$",
        ),
        (
            f"{{{POOLING}, model.l1: {{choices: [0.1, 0.2], when: {{model.pooling: "
            "[gem, mean]}}}",
            r"\.model\.l1\.when never holds with 'mean', because this is no value of model\.pool",
        ),
        (
            f"{{{POOLING}, model.l1: {{choices: [0.1, 0.2], when: {{model.pooling: "
            "[gem, avg, max]}}}",
            r"\.model\.l1\.when always holds, because these are all values of model\.pooling; rem",
        ),
        (
            "{train.accumulate: {low: 1, high: 3, log: false}, model.l1: {choices: [0.1, 0.2], "
            "when: {train.accumulate: [1, 2, 3]}}}",
            r"\.model\.l1\.when always holds, because these are all values of train\.accumulate;",
        ),
        (
            "{train.accumulate: {low: 1, high: 9, log: false, step: 4}, model.l1: {choices: "
            "[0.1, 0.2], when: {train.accumulate: [3]}}}",
            r"\.model\.l1\.when never holds with 3, because this is no value of train\.accumulate",
        ),
        (
            "{model.l2: {low: 0, high: 1, log: false}, model.l1: {choices: [0.1, 0.2], when: "
            "{model.l2: [0]}}}",
            r"\.model\.l1\.when never holds but by chance, because model\.l2 can be every number",
        ),
        (
            "{model.batch_norm: {choices: [true, false]}, model.l1: {choices: [0.1, 0.2], when: "
            "{model.batch_norm: [1]}}}",
            r"\.model\.l1\.when never holds with 1, because this is no value of model\.batch_norm",
        ),
        (
            "{model.l1: {choices: [0.1, 0.2], when: {model.l2: [0.1]}}, model.l2: {choices: "
            "[0.1, 0.2], when: {model.l1: [0.1]}}}",
            r"space: no trial .* wait for each other; .*Received: model\.l\d, model\.l\d$",
        ),
        (
            "{model.l1: {choices: [0.1, 0.2], when: {model.l1: [0.1]}}}",
            r"space: no trial .* wait for each other; .*Received: model\.l1$",
        ),
        (
            f"{{{POOLING}, model.l2: {{choices: [0.1, 0.2], when: {{model.pooling: [avg, max]}}}}, "
            "model.l1: {choices: [0.1, 0.2], when: {model.l2: [0.1], model.pooling: [gem]}}}",
            r"\.model\.l1\.when never holds, because it .* leave no value of model\.pooling; ",
        ),
    ],
)
def test_a_condition_that_never_or_always_holds_is_one_sentence(space, message, read_search):
    with pytest.raises(UserError, match=message) as refused:
        read_search(space)
    assert str(refused.value).count("Received: ") == 1


def test_all_values_of_a_conditional_parameter_are_a_condition(read_search):
    read_search(
        f"{{{POOLING}, model.l2: {{choices: [0.1, 0.2], when: {{model.pooling: [gem]}}}}, "
        "model.l1: {choices: [0.1, 0.2], when: {model.l2: [0.1, 0.2]}}}"
    )


def test_the_order_of_suggestion_is_that_of_the_conditions_and_not_of_the_lines():
    last = Choices(choices=(0.1, 0.2), when={"train.mixup": (0.2,)})
    space = {
        "model.dropout": last,
        "train.mixup": Choices(choices=(0.2, 0.4), when={"train.loss": ("focal",)}),
        "train.loss": Choices(choices=("focal", "cross_entropy")),
        "train.accumulate": Range(low=1, high=3, log=False),
    }
    order = ["train.accumulate", "train.loss", "train.mixup", "model.dropout"]
    assert suggestion_order(space) == order
    assert suggestion_order(dict(reversed(space.items()))) == order


SPACE = (
    "{train.loss: {choices: [focal, cross_entropy]}, train.accumulate: {low: 1, high: 9, "
    "log: false, step: 4}, train.focal_gamma: {low: 1, high: 3, log: false, step: 0.1, "
    "when: {train.loss: [focal]}}, model.l2: {low: 0, high: 0.1, log: false}}"
)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("{train.losses: focal}", "point 2: train.losses is not in search.space; write train.loss"),
        ("{train.loss: focal}", "point 2 has no value of model.l2; add one. "),
        (
            "{train.loss: focal, train.accumulate: 1, model.l2: 0}",
            "point 2 has no value of train.focal_gamma; add one. ",
        ),
        (
            "{train.loss: cross_entropy, train.accumulate: 1, model.l2: 0, train.focal_gamma: 2}",
            "point 2: the condition `when` of train.focal_gamma does not hold; remove train.focal_",
        ),
        (
            "{train.loss: cross_entropy, train.accumulate: 3, model.l2: 0}",
            "point 2: the value of train.accumulate is not in search.space; change the value, or ",
        ),
        (
            "{train.loss: cross_entropy, train.accumulate: true, model.l2: 0}",
            "point 2: the value of train.accumulate is not in search.space; ",
        ),
        (
            "{train.loss: cross_entropy, train.accumulate: 1, model.l2: 0.11}",
            "point 2: the value of model.l2 is not in search.space; ",
        ),
        (
            "{train.loss: logit_adjusted, train.accumulate: 1, model.l2: 0.1}",
            "point 2: the value of train.loss is not in search.space; ",
        ),
        (
            "{train.loss: focal, train.accumulate: 1, model.l2: 0, train.focal_gamma: 2.35}",
            "point 2: the value of train.focal_gamma is not in search.space; ",
        ),
        (
            "{train.loss: cross_entropy, train.accumulate: 5.0, model.l2: 0.1}",
            "point 2: train.accumulate should be a valid integer; write 5. Received: 5.0",
        ),
    ],
)
def test_a_start_point_outside_of_the_space_is_one_sentence(point, message, read_search):
    good = "{train.loss: focal, train.accumulate: 9, model.l2: 0, train.focal_gamma: 2.3}"
    assert read_search(SPACE, f"[{good}]").search.start[0]["train.focal_gamma"] == 2.3
    with pytest.raises(
        UserError, match=re.escape(f"params.yaml: search.start: {message}")
    ) as refused:
        read_search(SPACE, f"[{good}, {point}]")
    assert str(refused.value).count("Received: ") == 1


def test_true_is_not_the_number_1():
    assert is_one_of(1, (0, 1.0))
    assert not is_one_of(True, (0, 1))
    assert not is_one_of(0, (False, True))


def test_the_example_of_the_documentation_is_a_valid_search(read_search):
    text = (DIGITS.parents[3] / "docs/search.md").read_text()
    example = yaml.safe_load(re.search(r"^    search:\n(     .*\n)+", text, re.MULTILINE)[0])
    search = read_search("{}", search=example["search"]).search
    assert (search.trials, len(search.start), len(search.space)) == (20, 1, 5)
