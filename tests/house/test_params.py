"""Rules 5 and 7: every value is in params.yaml, once, and nothing of the environment is."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from components.params.reader import Params, read_params
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


@pytest.mark.parametrize("section", EVERY_SECTION, ids=lambda section: section.__name__)
def test_no_value_has_a_second_home(section: type[BaseModel]) -> None:
    assert [name for name, field in section.model_fields.items() if not field.is_required()] == []


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


def test_params_yaml_is_the_card_of_the_demo_byte_for_byte() -> None:
    if read_params(ROOT / "params.yaml").register_.name != "digits":
        pytest.skip("params.yaml is for other images than the demo's")
    assert (ROOT / "params.yaml").read_bytes() == DIGITS.read_bytes()


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
