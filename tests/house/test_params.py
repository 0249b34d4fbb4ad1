"""Rules 5 and 7: every value is in params.yaml, once, and nothing of the environment is."""

import re
import shutil
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from components.errors import UserError
from components.params.hyperparameters import Hyperparameters
from components.params.reader import Params, read_params
from components.params.sentences import NEW_KEYS
from components.search.space import start_points
from components.search.workload import CONFIRMATION, parts
from tests.cards import DIGITS, PHOTOS

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "tests/benchmarks/cards/photos_2026_11.yaml"
EVERY_CARD = [DIGITS, PHOTOS, KEPT]
ENVIRONMENT = re.compile(r"https?://|://[^<]*@|password|secret|token|_uri\b|_url\b", re.IGNORECASE)


def sections(kind: Any) -> Iterator[type[BaseModel]]:
    """Yield every model that a type holds, however deep."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for field in kind.model_fields.values():
            yield from sections(field.annotation)
    for inner in typing.get_args(kind):
        yield from sections(inner)


EVERY_SECTION = list(dict.fromkeys(sections(Params)))


# Keys that may be left out, because this says that there is no such thing; no number stands for it.
LEFT_OUT = {"Choices": ["when"], "Range": ["step", "when"]}


@pytest.mark.parametrize("section", EVERY_SECTION, ids=lambda section: section.__name__)
def test_no_value_has_a_second_home(section: type[BaseModel]) -> None:
    optional = [name for name, field in section.model_fields.items() if not field.is_required()]
    assert optional == LEFT_OUT.get(section.__name__, [])
    assert not any(
        section.model_fields[name].get_default(call_default_factory=True) for name in optional
    )


@pytest.mark.parametrize("section", EVERY_SECTION, ids=lambda section: section.__name__)
def test_sections_are_frozen_and_refuse_what_they_do_not_know(section: type[BaseModel]) -> None:
    assert section.model_config.get("frozen")
    assert section.model_config.get("extra") == "forbid"


def test_the_search_for_sections_reaches_the_deepest() -> None:
    assert {"FineTune", "Floors", "ImagesPerClass", "Choices", "Range"} <= {
        section.__name__ for section in EVERY_SECTION
    }


@pytest.mark.parametrize("path", [ROOT / "params.yaml", *EVERY_CARD], ids=lambda path: path.name)
def test_a_card_is_valid_and_has_nothing_that_belongs_to_the_environment(path: Path) -> None:
    read_params(path)
    values = yaml.safe_dump(yaml.safe_load(path.read_text()))  # without the comments
    assert ENVIRONMENT.findall(values) == []


def changelog_values() -> dict[str, Any]:
    """Return dotted key → value of the block of YAML under "Add the new keys" in CHANGELOG.md."""
    text = (ROOT / "CHANGELOG.md").read_text()
    block = re.search(r"\*\*Add the new keys [^:]*:\n\n((?: {6}.*\n)+)", text)
    assert block
    return dict(flat(yaml.safe_load(block[1]), ""))


def flat(tree: dict[str, Any], place: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        key = f"{place}{name}"
        if isinstance(value, dict) and key not in NEW_KEYS:
            yield from flat(value, f"{key}.")
        else:
            yield key, value


def test_the_changelog_has_the_lines_that_the_error_of_a_missing_key_names() -> None:
    assert changelog_values() == {key: yaml.safe_load(text) for key, text in NEW_KEYS.items()}


def test_a_card_of_before_is_valid_with_the_lines_of_the_changelog(tmp_path: Path) -> None:
    tree, old = (yaml.safe_load(KEPT.read_text()) for _ in range(2))
    for key, value in changelog_values().items():
        *path, name = key.split(".")
        section, before = tree, old
        for part in path:
            section, before = section[part], before[part]
        del before[name]
        section[name] = value
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(old))
    with pytest.raises(UserError, match="effective_number_beta is missing"):
        read_params(file)
    file.write_text(yaml.safe_dump(tree))
    read_params(file)


def test_params_yaml_is_the_card_of_the_demo_byte_for_byte() -> None:
    if read_params(ROOT / "params.yaml").register_.name != "digits":
        pytest.skip("params.yaml is for other images than the demo's")
    assert (ROOT / "params.yaml").read_bytes() == DIGITS.read_bytes()


def test_the_demo_confirms_its_search_and_trains_little_enough_for_a_demo() -> None:
    params = read_params(DIGITS)
    written = Hyperparameters(model=params.model, train=params.train)
    as_written = {name: written.value(name) for name in params.search.space}
    assert start_points(params.search, written) == [as_written]  # a point, so it can be learned
    *first, confirmation = parts(params.search, written)
    assert (confirmation.rung, confirmation.epochs) == (CONFIRMATION, written.train.finetune.epochs)
    # On two idle cores, a training takes 3 s and 1 s for each epoch, and make demo at most 100 s.
    assert sum(part.trainings * (3 + part.epochs) for part in (*first, confirmation)) <= 70


@pytest.mark.parametrize("path", EVERY_CARD, ids=lambda path: path.name)
def test_a_card_has_no_value_in_brackets_left_to_take(path: Path) -> None:
    comments = [line.partition("#")[2] for line in path.read_text().splitlines()]
    assert [comment for comment in comments if re.search(r"\[.*\]", comment)] == []


def test_the_card_kept_for_comparisons_trains_as_the_card_for_photographs_did() -> None:
    model = read_params(KEPT).model
    train = read_params(KEPT).train
    assert (model.backbone, model.width, model.weights) == ("mobilenet_v2", 0.35, "imagenet")
    assert (train.finetune.epochs, train.finetune.learning_rate) == (8, 0.0003)
    assert (read_params(KEPT).prepare.size, train.augmentation.horizontal_flip) == (224, 0.5)


def other_values(tree: Any, above: str = "") -> Iterator[tuple[str, str]]:
    """Yield the key of every value that `dvc exp run -S` can set, and another value for it."""
    for name, value in tree.items():
        key = f"{above}{name}"
        if isinstance(value, dict):
            # DVC takes the dots in `model.dropout`, a key of the search space, for other keys.
            yield from other_values({n: v for n, v in value.items() if "." not in n}, f"{key}.")
        elif value == []:
            continue  # DVC writes a list into lines of its own below the key.
        elif isinstance(value, bool):
            yield key, str(not value).lower()
        elif isinstance(value, int | float):
            yield key, str(value + 0.00001)
        else:
            # A list of the same length has as many lines.
            yield key, str([1] * len(value)) if isinstance(value, list) else "0a"


@pytest.mark.parametrize("path", [ROOT / "params.yaml", DIGITS, PHOTOS], ids=lambda path: path.name)
def test_dvc_exp_run_changes_only_the_lines_of_the_values_that_it_sets(
    path: Path, tmp_path: Path
) -> None:
    from dvc.utils.hydra import apply_overrides

    before = path.read_text().splitlines()
    changed = tmp_path / "params.yaml"
    shutil.copy(path, changed)
    apply_overrides(changed, ["train.weight_decay=0.00001"])
    after = changed.read_text().splitlines()
    assert len(after) == len(before)
    [(line, old)] = [pair for pair in zip(after, before, strict=True) if pair[0] != pair[1]]
    # The comment keeps its column, or has one space before it if the new value is longer.
    value = "  weight_decay: 1e-05 ".ljust(old.index("#"))
    assert line == f"{value}# decoupled (Loshchilov and Hutter, 2019)"

    values = dict(other_values(yaml.safe_load(path.read_text())))
    apply_overrides(changed, [f"{key}={value}" for key, value in values.items()])
    after = changed.read_text().splitlines()
    for line, old in zip(after, before, strict=True):
        # What stays in every line: its key, and its comment.
        assert re.findall(r"^ *[\w.]+: ?|#.*", line) == re.findall(r"^ *[\w.]+: ?|#.*", old)
    assert len(values) > 90
