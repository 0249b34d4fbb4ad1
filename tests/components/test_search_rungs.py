"""A search whose trials would have nothing to do, or no end of points, is refused at the start."""

import pytest

from components.errors import UserError

RATE = "{train.finetune.learning_rate: {low: 0.001, high: 0.01, log: true}}"
WEIGHTS = "model.weights: {choices: [imagenet, none]}"
SMOOTHING = "train.label_smoothing: {choices: [0.0, 0.1], when: {model.weights: [imagenet]}}"


def read_pretrained(read_search, space, **changes):
    """Read params.yaml of a search of heads, with a network that has weights."""
    model = {"model__backbone": "mobilenet_v2", "model__weights": "imagenet"}
    rung = {"search__first_rung": "head", "train__head__epochs": 3}
    return read_search(space, **{**model, **rung, **changes})


def test_a_search_without_a_space_is_refused(read_search):
    read_search("{}", search__trials=0)
    with pytest.raises(UserError, match=r"search\.space: it is empty, .*Received: trials: 3$"):
        read_search("{}", search__trials=3)


@pytest.mark.parametrize(
    ("space", "changes"),
    [
        (RATE, {"model__weights": "none"}),
        (RATE, {"train__head__epochs": 0}),
        (f"{{{WEIGHTS}}}", {}),
        (f"{{{WEIGHTS}, {SMOOTHING}}}", {}),
        ("{train.head.epochs: {low: 0, high: 4, log: false}}", {}),
        ("{train.head.epochs: {low: 1, high: 4, log: false}}", {"train__head__epochs": 0}),
    ],
)
def test_a_first_rung_of_heads_needs_a_head_in_every_trial(space, changes, read_search):
    message = r"search\.first_rung: head trains only the phase `head`, .*Received: head, train.hea"
    with pytest.raises(UserError, match=message):
        read_pretrained(read_search, space, **changes)
    read_pretrained(read_search, space, **changes, search__first_rung=2)
    read_pretrained(read_search, space, **changes, search__trials=0)


def test_a_first_rung_of_heads_with_a_head_in_every_trial_is_accepted(read_search):
    read_pretrained(read_search, RATE)
    read_pretrained(read_search, "{train.head.epochs: {low: 1, high: 4, log: false}}")


def test_a_grid_needs_an_end_of_points(read_search):
    grid = {"search__sampler": "grid"}
    with pytest.raises(
        UserError, match=r"search\.space\.train\.finetune\.learning_rate: a grid ne"
    ):
        read_search(RATE, **grid)
    big = "{train.batch_size: {low: 1, high: 10000, log: false}%s}"
    read_search(big % "", **grid)
    with pytest.raises(
        UserError, match=r"search\.sampler: the space has too many points .* 10,000"
    ):
        read_search(big % ", train.optimizer: {choices: [sgd, adamw]}", **grid)
    with pytest.raises(UserError, match="too many points"):
        read_search(f"{{train.batch_size: {{low: 1, high: {2**53}, log: false}}}}", **grid)
    # A condition leaves fewer points than the product of all values.
    when = "when: {train.optimizer: [sgd]}"
    few = f"{{train.batch_size: {{low: 1, high: 9999, log: false, {when}}}"
    read_search(f"{few}, train.optimizer: {{choices: [sgd, adamw]}}}}", **grid)


def test_a_grid_of_heads_has_the_points_of_heads_alone(read_search):
    """All other values are drawn at random, so they may be ranges."""
    dropout = "model.dropout: {choices: [0.0, 0.2]}"
    space = f"{{{dropout}, {RATE.strip('{}')}}}}}"
    read_pretrained(read_search, space, search__sampler="grid")
    with pytest.raises(UserError, match="a grid needs choices or a step"):
        read_pretrained(read_search, space, search__sampler="grid", search__first_rung=2)


@pytest.mark.parametrize("keep", [0.5, 0.33, 0.34, 0.333, 0.25, 0.2, 0.17, 0.1])
def test_the_share_that_is_kept_is_one_part_of_several(keep, read_search):
    if keep == 0.34:
        with pytest.raises(UserError, match=r"^\S+: search\.keep: .*divided by .*Received: 0\.34$"):
            read_search(RATE, search__keep=keep)
    else:
        read_search(RATE, search__keep=keep)


def test_a_step_that_is_far_too_small_is_one_sentence(read_search):
    space = RATE.replace("log: true", "log: false, step: 1.0e-300")
    with pytest.raises(UserError, match="step gives more than 10000 values; write a larger step"):
        read_search(space)
