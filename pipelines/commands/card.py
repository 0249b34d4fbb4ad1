"""A card of this package, a name, floors and sizes → the text of params.yaml.

A card is a complete params.yaml with comments. The comments stay when values are set.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from components.errors import UserError
from components.params.register import Register
from components.params.sentences import broken_rules
from pipelines.workspace.params_text import with_value

FOLDER = Path(__file__).parent / "cards"
# The full width of MobileNetV2, a batch that keeps a GPU busy, and 30 epochs. On TrashNet, at width
# 0.35, 30 epochs score one point more than 8 epochs.
GPU_SIZES = {"model.width": "1.0", "train.batch_size": "128", "train.finetune.epochs": "30"}


def card_text(card: str, name: str | None, floors: str, gpu: bool) -> str:
    """Return params.yaml as text: the card with a model's name, floors and sizes.

    name: of the registered model; None keeps the card's name. floors: for example
    `accuracy=0.8,recall=0.5`; every other floor keeps the card's value. gpu: sizes for one GPU.
    Raises UserError if the name or a floor breaks a rule of section `register`, if a part of
    floors is not `name=number`, or if gpu is asked for with another card than photos.
    """
    if gpu and card != "photos":
        raise UserError(f"--gpu is for the card photos. Received: --card {card} --gpu")
    text = (FOLDER / f"{card}.yaml").read_text(encoding="utf-8")
    given = parse_floors(floors)
    _check_register(text, name, given)
    values = dict(GPU_SIZES) if gpu else {}
    values |= {f"register.floors.{key}": str(value) for key, value in given.items()}
    if name is not None:
        # A name such as 2026 would be read as a number without quotes.
        plain = yaml.safe_load(name) == name
        values["register.name"] = name if plain else json.dumps(name)
    for key, value in values.items():
        text = with_value(text, key.split("."), value)
    return text


def parse_floors(text: str) -> dict[str, float]:
    """Read `name=number,name=number`. Raises UserError if a part is not of this form.

    >>> parse_floors("accuracy=0.8,recall=0.5")
    {'accuracy': 0.8, 'recall': 0.5}
    """
    floors = {}
    for part in filter(None, text.split(",")):
        key, _, number = part.partition("=")
        try:
            floors[key.strip()] = float(number)
        except ValueError:
            raise UserError(
                f"--floors takes names and numbers, such as accuracy=0.8,recall=0.5. "
                f"Received: {part!r}"
            ) from None
    return floors


def _check_register(card: str, name: str | None, floors: Mapping[str, float]) -> None:
    """Raise UserError, which names the keys of params.yaml, if `register` would be invalid."""
    section = yaml.safe_load(card)["register"]
    section["floors"] |= floors
    section["name"] = section["name"] if name is None else name
    try:
        Register.model_validate(section)
    except ValidationError as error:
        raise UserError("; ".join(f"register.{rule}" for rule in broken_rules(error))) from None
