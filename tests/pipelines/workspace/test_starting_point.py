"""The champion's hyperparameters become a point of `search.start`, and no other value changes."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dvc.utils.serialize import modify_yaml

from components.errors import UserError
from components.params.hyperparameters import Hyperparameters
from components.params.reader import Params, read_params
from components.registry.promotion import promote
from components.registry.versions import find_version, register_version
from components.tracking.runs import start_run
from pipelines.workspace.params_text import with_item
from pipelines.workspace.starting_weights import write_champion
from tests.cards import DIGITS
from tests.components.origins import ORIGIN

SPACE = """\
  space: # what is tried
    model.dropout: {choices: [0.0, 0.2, 0.4]}
    train.optimizer: {choices: [adamw, sgd]}
    train.momentum: {low: 0.5, high: 0.9, log: false, when: {train.optimizer: [sgd]}}
    train.finetune.learning_rate: {low: 0.0005, high: 0.01, log: true}

"""
CARD = re.sub(r"  trials: \d+ ", "  trials: 3 ", DIGITS.read_text())
CARD = re.sub(r"  space:(.*\n)+?\n", SPACE, CARD)
KEY = ("search", "start")
BEST = {"model.dropout": 0.4, "train.optimizer": "adamw", "train.finetune.learning_rate": 1e-3}
POINT = "{model.dropout: 0.4, train.finetune.learning_rate: 0.001, train.optimizer: adamw}"

Champion = Callable[..., None]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("start: [] # why\n", "start: [{a: 1e-05}] # why\n"),
        ("start: [{b: 2}, {c: 3}]\n", "start: [{a: 1e-05}, {b: 2}, {c: 3}]\n"),
        ("start: # why\n- {b: 2} # two\n", "start: # why\n- {a: 1e-05}\n- {b: 2} # two\n"),
        ("x:\n  - b: 2\nstart: [\n]\n", "x:\n  - b: 2\nstart: [{a: 1e-05}\n]\n"),
        ("s: 1\nstart:\n  # x\n  - b: 2\n", "s: 1\nstart:\n  # x\n  - {a: 1e-05}\n  - b: 2\n"),
        ("start: [{z: 0}, {b: 2}] # why\n", "start: [{a: 1e-05}, {b: 2}] # why\n"),
        ("start:\n- b: 2\n- z: 0 # old\n# end\n", "start:\n- b: 2\n- {a: 1e-05} # old\n# end\n"),
    ],
)  # fmt: skip
def test_a_point_is_added_or_replaced_and_comments_and_layout_stay(before: str, after: str) -> None:
    assert with_item(before, ("start",), {"a": 1e-05}, {"z": 0}) == after


@pytest.mark.parametrize(
    "text",
    ["start: none\n", "start: {b: 1}\n", "x: &s []\nstart: *s\n", "start:\n", "", "- start\n"],
)
def test_a_list_that_cannot_be_changed_alone_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"must have a list.* at start; write \[{a: 1}\] there"):
        with_item(text, ("start",), {"a": 1}, None)


def test_a_text_with_a_colon_stays_a_text_for_dvc(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(
        with_item("start: []\n", ("start",), {"model.weights": "models:/a/3#sha256=1"}, None)
    )
    with modify_yaml(path) as tree:
        assert tree["start"] == [{"model.weights": "models:/a/3#sha256=1"}]


@pytest.fixture
def champion(folder_with_store: Path, monkeypatch: pytest.MonkeyPatch) -> Champion:
    """A function that registers and promotes a model that was trained with some overrides."""
    monkeypatch.setattr(logging.getLogger("pipelines"), "propagate", True)
    Path("params.yaml").write_text(CARD)
    params = read_params(Path("params.yaml"))

    def champion(overrides: dict[str, object], *, known: bool = True) -> None:
        Path("model.keras").write_bytes(str(overrides).encode())
        trained = Hyperparameters(model=params.model, train=params.train).with_overrides(overrides)
        with start_run("train", ORIGIN, {}) as run:
            if known:
                run.log_params({**trained.model_dump(), "prepare": {"size": 7}})
        pixels = np.zeros((1, 4, 4, 3), np.uint8)
        number = register_version("digits", Path("model.keras"), run, pixels, 2, {})
        promote("digits", str(number), "better", "Ann", override=True)

    return champion


def write() -> Params:
    """Do what `fovea retrain --from champion` does to params.yaml, and read it as a stage does."""
    assert write_champion(lambda: False) is not None
    return read_params(Path("params.yaml"))


def expected(version: int, start: str) -> str:
    """The card that starts from a version, with other text for `start`."""
    reference = find_version("digits", str(version)).reference
    text = CARD.replace("\n  weights: none\n", f"\n  weights: {reference}\n")
    return text.replace("\n  start: [] #", f"\n  start: {start} #")


def test_the_search_begins_with_the_champion_and_each_point_is_there_once(
    champion: Champion, caplog: pytest.LogCaptureFixture
) -> None:
    champion(BEST)
    assert write().search.start == (BEST,)
    assert Path("params.yaml").read_text() == expected(1, f"[{POINT}]")
    assert "search.start now has the hyperparameters of the champion, version 1" in caplog.text
    write()
    assert Path("params.yaml").read_text() == expected(1, f"[{POINT}]")
    assert "params.yaml already has the hyperparameters of the champion, version 1" in caplog.text


def test_the_point_of_the_next_champion_replaces_that_of_the_last_one_and_no_other(
    champion: Champion,
) -> None:
    own = "{model.dropout: 0.0, train.optimizer: adamw, train.finetune.learning_rate: 0.005}"
    Path("params.yaml").write_text(CARD.replace("  start: []", f"  start: [{own}]"))
    champion(BEST)
    write()
    assert Path("params.yaml").read_text() == expected(1, f"[{POINT}, {own}]")
    champion({**BEST, "model.dropout": 0.2})
    write()
    second = POINT.replace("dropout: 0.4", "dropout: 0.2")
    assert Path("params.yaml").read_text() == expected(2, f"[{second}, {own}]")


def test_a_condition_decides_which_values_a_point_has(champion: Champion) -> None:
    champion({"train.optimizer": "sgd", "train.momentum": 0.8})
    assert write().search.start == (
        {
            "model.dropout": 0.2,
            "train.finetune.learning_rate": 0.003,
            "train.optimizer": "sgd",
            "train.momentum": 0.8,
        },
    )


@pytest.mark.parametrize(
    ("overrides", "received"),
    [
        ({"model.dropout": 0.3}, "{model.dropout: 0.3}"),
        ({"train.finetune.learning_rate": 0.02}, "{train.finetune.learning_rate: 0.02}"),
        ({"train.optimizer": "sgd", "train.momentum": 0.95}, "{train.momentum: 0.95}"),
    ],
)
def test_a_value_outside_of_the_space_is_one_sentence_and_no_point(
    overrides: dict[str, object],
    received: str,
    champion: Champion,
    caplog: pytest.LogCaptureFixture,
) -> None:
    champion(overrides)
    assert write().search.start == ()
    assert Path("params.yaml").read_text() == expected(1, "[]")
    [warning] = [each for each in caplog.records if each.levelname == "WARNING"]
    assert (
        "version 1 of digits, has hyperparameters that are not in search.space" in warning.message
    )
    assert warning.message.endswith(f"Received: {received}")


def test_a_hyperparameter_that_is_not_searched_is_one_sentence_and_the_point_is_there(
    champion: Champion, caplog: pytest.LogCaptureFixture
) -> None:
    may_differ = {"train.seed": 9, "train.threads": 2, "train.momentum": 0.5}
    champion({**BEST, "train.mixup": 0.2, **may_differ})
    assert write().search.start == (BEST,)
    [warning] = [each for each in caplog.records if each.levelname == "WARNING"]
    assert "so its point has those of params.yaml" in warning.message
    assert warning.message.endswith("Received: {train.mixup: 0.2}")


def test_the_values_of_params_yaml_are_no_second_point(champion: Champion) -> None:
    champion({})
    assert write().search.start == ()
    assert Path("params.yaml").read_text() == expected(1, "[]")


def test_without_a_search_only_the_weights_change(champion: Champion) -> None:
    champion(BEST)
    off = CARD.replace("  trials: 3 ", "  trials: 0 ")
    Path("params.yaml").write_text(off)
    assert write().search.start == ()
    assert Path("params.yaml").read_text() == expected(1, "[]").replace("trials: 3 ", "trials: 0 ")


def test_a_champion_of_another_machine_is_one_sentence(
    champion: Champion, caplog: pytest.LogCaptureFixture
) -> None:
    champion(BEST, known=False)
    assert write().search.start == ()
    assert "Received: {model.dropout: 'not recorded', " in caplog.text
