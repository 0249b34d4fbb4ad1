"""The name of a card, and changes such as `train.mixup=0.2` → checked params.

`before` is the card for photographs of November 2026. `quick`, `standard` and `best` are the cards
that `fovea init --preset` writes now. `compact` and `compact_small` are the demo's card with the
values below: a network of ours that starts from random weights, for Fashion-MNIST.
"""

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from components.errors import UserError
from components.params import yaml_text
from components.params.balance import Balance
from components.params.reader import Params, with_tuples
from components.params.sentences import broken_rules
from components.params.train import Train
from pipelines.commands.card import card_text
from pipelines.commands.presets import PRESETS
from tests.cards import DIGITS

BEFORE = Path(__file__).parents[1] / "cards/photos_2026_11.yaml"
# Clothes of 28 × 28 pixels: a mirrored shirt is a shirt, and none of them is turned.
COMPACT = {
    "prepare.size": 28,
    "model.width": 1.0,
    "train.batch_size": 128,
    "train.finetune.epochs": 24,
    "train.augmentation.horizontal_flip": 0.5,
    "train.augmentation.rotate": 0,
}
CHANGES = {
    "compact": {**COMPACT, "model.views": "mirrored", "train.early_stopping.patience": 24},
    "compact_small": {**COMPACT, "model.width": 0.5, "train.finetune.epochs": 12},
}
CARDS = ("before", *PRESETS, *CHANGES)
# Each image once in an epoch, and the plain cross-entropy: what ways to balance are compared with.
PLAIN = "balance.strategy=none train.loss=cross_entropy model.logit_adjustment=none"
# The sections that decide a result; the data are the same for all cards.
DECIDING = ("prepare", "balance", "model", "train")


def card_params(card: str, changes: Mapping[str, Any]) -> Params:
    """Return the params of a card with changed values.

    card: one of CARDS. changes: dotted key → value, such as {"train.mixup": 0.2}. Raises UserError
    if a key is not in the card, or if a value breaks a rule.
    """
    tree = _tree(card)
    for key, value in {**CHANGES.get(card, {}), **changes}.items():
        node: Any = tree
        *path, last = key.split(".")
        for part in path:
            node = node.get(part) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node:
            raise UserError(f"--set needs a key of the card {card}. Received: {key}")
        node[last] = value
    try:
        return Params.model_validate(with_tuples(tree))
    except ValidationError as error:
        raise UserError(f"{card}: " + "; ".join(broken_rules(error, tree, Params))) from None


def parse_changes(text: str) -> dict[str, Any]:
    """Return dotted key → value from a text such as `train.mixup=0.2 train.finetune.epochs=30`.

    Raises UserError if a part does not have the form `key=value`.

    >>> parse_changes("train.mixup=0.2 train.augmentation=light")
    {'train.mixup': 0.2, 'train.augmentation': 'light'}
    """
    changes = {}
    for part in shlex.split(text):
        key, sign, value = part.partition("=")
        if not sign:
            raise UserError(f"--set must be key=value, or several in quotes. Received: {part}")
        changes[key] = yaml_text.parse(value, Path("--set"))
    return changes


def digest(params: Params) -> str:
    """Return a hash (12 hex digits) of the sections that decide a result."""
    sections = {name: params.section(name).model_dump(mode="json") for name in DECIDING}
    return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()[:12]


def treatments() -> list[str]:
    """Return PLAIN, each strategy of `balance`, each loss, and the card as it is, an empty text."""
    every = get_args(Balance.model_fields["strategy"].annotation)
    # `smote` needs a phase `head`, and a network that starts from random weights has none.
    strategies = [name for name in every if name != "smote"]
    losses = get_args(Train.model_fields["loss"].annotation)
    pairs = [(name, "cross_entropy") for name in strategies] + [("none", name) for name in losses]
    changes = [
        f"balance.strategy={strategy} train.loss={loss} model.logit_adjustment=none"
        for strategy, loss in pairs
    ]
    return list(dict.fromkeys([PLAIN, *changes, ""]))


def _tree(card: str) -> dict[str, Any]:
    if card == "before":
        text = BEFORE.read_text()
    elif card in PRESETS:
        text = card_text("photos", card, "benchmark", "", gpu=False)
    else:
        text = DIGITS.read_text()
    tree: dict[str, Any] = yaml_text.parse(text, Path(card))
    return tree
