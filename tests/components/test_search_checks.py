"""search.space: every trial that it can give is checked against the rules, and no other."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, get_args

import annotated_types
import pytest
from pydantic import BaseModel

from components.errors import UserError
from components.params.hyperparameters import RULED_TOGETHER, Hyperparameters
from components.params.reader import Params
from components.params.search import Choices, Range
from components.params.search_checks import MOST_TRIALS, trials_to_check, with_conditions
from components.params.section import Section

RATE = "train.finetune.learning_rate"
EPOCHS = "train.finetune.epochs"


def test_a_rule_that_is_broken_between_the_ends_of_a_range_of_integers_is_found(
    read_search, monkeypatch
):
    """No rule of today is like this; it stands for the rules to come."""

    def refuse_7(self: Params, tried: Hyperparameters) -> None:
        if (tried.train.finetune.epochs, tried.train.average.soup) == (7, 3):
            raise ValueError("seven epochs, and three of them in a soup")

    monkeypatch.setattr(Params, "_check_strategy", refuse_7)
    epochs = "train.finetune.epochs: {low: 1, high: 9, log: false, step: 2}"
    with pytest.raises(UserError, match=r"search\.space: seven epochs"):
        read_search(f"{{{epochs}, train.average.soup: {{low: 0, high: 8, log: false}}}}")
    read_search(f"{{{epochs}, train.average.soup: {{low: 0, high: 8, log: false, step: 2}}}}")


BLOCKS = "train.finetune.unfreeze.last_blocks: {low: 1, high: 9, log: false"
BACKBONES = "model.backbone: {choices: [vgg16, resnet50]}"


def test_a_condition_rules_out_what_would_break_a_rule_about_several_values(read_search):
    last = {"train__finetune__unfreeze": {"last_blocks": 3}}
    message = r"search\.space: train\.finetune\.unfreeze: vgg16 has 5 blocks; .*last_blocks: 6$"
    with pytest.raises(UserError, match=message):
        read_search(f"{{{BACKBONES}, {BLOCKS}}}}}", **last)
    read_search(f"{{{BACKBONES}, {BLOCKS}, when: {{model.backbone: [resnet50]}}}}}}", **last)
    with pytest.raises(UserError, match=message):
        read_search(f"{{{BACKBONES}, {BLOCKS}, when: {{model.backbone: [vgg16]}}}}}}", **last)


def test_a_trial_without_a_parameter_has_its_value_of_params_yaml(read_search):
    last = {"train__finetune__unfreeze": {"last_blocks": 7}}
    space = f"{{{BACKBONES}, {BLOCKS}, when: {{model.backbone: [resnet50]}}}}}}"
    with pytest.raises(UserError, match=r"vgg16 has 5 blocks; .*last_blocks: 7$"):
        read_search(space, **last)


def test_conditions_outside_of_a_rule_decide_which_of_its_values_meet(read_search):
    """MixUp needs epochs of the phase `finetune`; both depend on the loss."""
    when = "when: {train.loss: [%s]}"
    space = (
        "{train.loss: {choices: [focal, cross_entropy]}, model.weights: {choices: [imagenet, "
        f"data/weights/a.keras]}}, {EPOCHS}: {{choices: [0, 3], {when % 'focal'}}}, "
        "train.mixup: {low: 0.1, high: 0.4, log: false, %s}}"
    )
    read_search(space % (when % "cross_entropy"))
    with pytest.raises(UserError, match="mix images in the phase `finetune` only"):
        read_search(space % (when % "focal"))


def test_only_trials_that_can_happen_are_checked(read_search):
    """With `last_blocks: 9`, the backbone in params.yaml has too few blocks; no trial has it."""
    last = {"train__finetune__unfreeze": {"last_blocks": 3}, "model__backbone": "vgg16"}
    read_search(f"{{model.backbone: {{choices: [resnet50, resnet101]}}, {BLOCKS}}}}}", **last)
    stages = "train.finetune.stages: {low: 1, high: 3, log: false"
    unfreeze = "train.finetune.unfreeze: {choices: [none, all]}"
    read_search(f"{{{unfreeze}, {stages}, when: {{train.finetune.unfreeze: [all]}}}}}}")
    with pytest.raises(UserError, match="with `unfreeze: none`, no block"):
        read_search(f"{{{unfreeze}, {stages}}}}}")


def test_a_rule_with_too_many_combinations_is_checked_at_its_ends_and_at_random(params):
    written = Hyperparameters(model=params.model, train=params.train)
    space = {
        "train.finetune.epochs": Range(low=1, high=1000, log=False),
        "train.head.epochs": Range(low=1, high=1000, log=False),
        "model.weights": Choices(choices=("imagenet", "none")),
    }
    trials = list(trials_to_check(space, written, with_conditions(space, space)))
    assert len(trials) == 8 + MOST_TRIALS
    assert {
        "train.finetune.epochs": 1000,
        "train.head.epochs": 1,
        "model.weights": "none",
    } in trials
    assert len({trial["train.head.epochs"] for trial in trials}) > 990
    assert trials == list(trials_to_check(space, written, with_conditions(space, space)))
    few = list(trials_to_check(space, written, ("train.head.epochs", "model.weights")))
    assert len(few) == 2000


def test_numbers_with_a_step_are_those_that_a_user_writes(read_search):
    params = read_search("{model.l1: {low: 0.1, high: 0.5, log: false, step: 0.1}}")
    written = Hyperparameters(model=params.model, train=params.train)
    trials = trials_to_check(params.search.space, written, ("model.l1",))
    assert [trial["model.l1"] for trial in trials] == [0.1, 0.2, 0.3, 0.4, 0.5]


class Recorder:
    """A section that notes the dotted names of the values that are read."""

    def __init__(self, section: Any, place: str, names: set[str]) -> None:
        self.__dict__["_kept"] = (section, place, names)

    @property
    def __class__(self) -> type:
        return type(self._kept[0])

    def __getattr__(self, key: str) -> Any:
        section, place, names = self._kept
        value, name = getattr(section, key), f"{place}{key}"
        if isinstance(value, Section):
            names.add(name)
            return Recorder(value, f"{name}.", names)
        if key in type(section).model_fields:
            names.add(name)
        return value


def kinds(kind: Any, place: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield place, kind
        for name, field in kind.model_fields.items():
            yield from kinds(field.annotation, f"{place}{name}.")
    for inner in get_args(kind):
        yield from kinds(inner, place)


# No search may choose the first two.
NOT_TRIED = {"model.logit_adjustment", "model.hidden", "train.loss"}
VALUES = [
    {},
    {"model.weights": "imagenet", "train.finetune.epochs": 0},
    {"train.mixup": 0.2},
    {"train.cutmix": 0.2},
    {"train.average.ema": 0.9},
    {"train.average.soup": 3},
    {"train.finetune.stages": 3},
    {"train.finetune.unfreeze": "none"},
    {"train.finetune.layer_decay": 0.5},
    {"train.head.views": 2},
    {"train.head.epochs": 0},
]


def test_every_rule_about_several_hyperparameters_has_its_line_in_ruled_together(params):
    written = Hyperparameters(model=params.model, train=params.train)
    smote = params.model_copy(
        update={"balance": params.balance.model_copy(update={"strategy": "smote"})}
    )
    rules = [
        (place.rstrip("."), place, rule.func)
        for place, kind in kinds(Hyperparameters)
        for rule in kind.__pydantic_decorators__.model_validators.values()
    ]
    seen = []
    for overrides in VALUES:
        tried = written.with_overrides(overrides)
        for place, above, rule in [*rules, ("", "", smote._check_strategy)]:
            names: set[str] = set()
            section = tried.value(place) if place else tried
            with suppress(ValueError):  # for SMOTE
                rule(Recorder(section, above, names))
            read = {name for name in names if not isinstance(tried.value(name), Section)}
            seen.append(read - NOT_TRIED)
    several = [read for read in seen if len(read) > 1]  # Each name alone is always checked.
    assert [read for read in several if not any(read <= set(line) for line in RULED_TOGETHER)] == []
    assert [
        line for line in RULED_TOGETHER if not any(len(read & set(line)) > 1 for read in seen)
    ] == []


def test_every_rule_about_one_number_is_a_minimum_or_a_maximum():
    """So the ends of a range of floats stand for all of its numbers."""
    bounds = (annotated_types.Ge, annotated_types.Gt, annotated_types.Le, annotated_types.Lt)
    numbers = [
        (kind, name, field)
        for _, kind in kinds(Hyperparameters)
        for name, field in kind.model_fields.items()
        if field.annotation in (int, float)
    ]
    assert len(numbers) > 30
    for kind, name, field in numbers:
        assert all(isinstance(rule, bounds) for rule in field.metadata), (kind, name)
        assert not kind.__pydantic_decorators__.field_validators
