"""A card, a preset, a model's name and floors (minimum values) → the text of params.yaml.

A card is a complete params.yaml with comments. The cards are in the folder `cards` of this package.
This module replaces values of a card and keeps its comments.
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from components.errors import UserError
from components.params import yaml_text
from components.params.register import Register
from components.params.sentences import broken_rules
from pipelines.commands.presets import with_preset
from pipelines.workspace.params_text import with_value

FOLDER = Path(__file__).parent / "cards"
# Values for one GPU: the full width of MobileNetV2, and batches that use the whole GPU.
GPU_SIZES = {"model.width": 1.0, "train.batch_size": 128}
# Comes before the paragraph of the preset, whose cost and score are those of the smaller sizes.
GPU_TOP = (
    "# The sizes of this card are for one GPU (`fovea init --gpu`). Their cost and score were\n"
    "# not measured. The next paragraph is about the sizes without --gpu.\n"
    "#\n"
)


def card_text(card: str, preset: str, name: str | None, floors: str, gpu: bool) -> str:
    """Return the text of a card in which the preset, name, floors and sizes are replaced.

    card: `photos` or `digits`. preset: one of PRESETS; the card `digits` has only `standard`.
    name: the name of the registered model; None keeps the card's name.
    floors: the floors to change, such as `accuracy=0.8,recall=0.5`. A floor that is not named keeps
    the card's value. gpu: if true, replace the card's sizes by `GPU_SIZES`; a value of the preset
    has priority.
    Raises UserError if the name or a floor breaks a rule of the section `register`, if a part of
    `floors` does not have the form `name=number`, or if the card is not `photos`, but `gpu` is true
    or another preset is asked for.
    """
    if gpu and card != "photos":
        raise UserError(f"use --gpu only with the card photos. Received: --card {card} --gpu")
    if preset != "standard" and card != "photos":
        raise UserError(
            f"use --preset only with the card photos. Received: --card {card} --preset {preset}"
        )
    text = (FOLDER / f"{card}.yaml").read_text(encoding="utf-8")
    given = parse_floors(floors)
    _check_register(text, name, given)
    values: dict[str, str | float] = dict(GPU_SIZES) if gpu else {}
    values |= {f"register.floors.{key}": value for key, value in given.items()}
    if name is not None:
        values["register.name"] = name
    for key, value in values.items():
        text = with_value(text, key.split("."), value)
    text = with_preset(text, preset)
    top = f"# Preset {preset}"
    return text.replace(top, GPU_TOP + top, 1) if gpu else text


def parse_floors(text: str) -> dict[str, float]:
    """Return floor → value from a text of the form `name=number,name=number`.

    Raises UserError if a part between two commas does not have this form.

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
                f"--floors must be names and numbers, such as accuracy=0.8,recall=0.5. "
                f"Received: {part!r}"
            ) from None
    return floors


def _check_register(card: str, name: str | None, floors: Mapping[str, float]) -> None:
    """Raise UserError if the card with this name and these floors breaks a rule of `register`.

    card: the text of the card. The message of the error names the wrong keys of params.yaml.
    """
    section = yaml_text.parse(card, FOLDER)["register"]
    section["floors"] |= floors
    section["name"] = section["name"] if name is None else name
    try:
        Register.model_validate(section)
    except ValidationError as error:
        rules = broken_rules(error, section, Register)
        raise UserError("; ".join(f"register.{rule}" for rule in rules)) from None
