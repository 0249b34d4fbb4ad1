"""Rules 5 and 7: every value stands in params.yaml, once, and nothing of the environment does."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from components.params.reader import Params

ROOT = Path(__file__).parents[2]
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


def test_params_yaml_has_nothing_that_belongs_to_the_environment() -> None:
    text = (ROOT / "params.yaml").read_text()
    values = yaml.safe_dump(yaml.safe_load(text))  # without the comments
    assert ENVIRONMENT.findall(values) == []
