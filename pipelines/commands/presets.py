"""The name of a preset → the values in which its card differs from the card for photographs.

A preset says how much time a training may take. The card of `standard` is the card as it is in the
folder `cards`. The cards of the other presets are made from it, so there is one card to maintain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.params import yaml_text
from pipelines.workspace.params_text import with_value

# The card has a paragraph that begins like this, with the measured cost and score of `standard`.
PARAGRAPH = "# Preset standard"


@dataclass(frozen=True)
class Preset:
    """Values of a preset.

    values: dotted key → value, for each value that differs from the card. top: the lines for the
    top of the card, with the measured cost and score; None keeps the paragraph of the card.
    """

    values: Mapping[str, str | float]
    top: str | None


QUICK = """\
# Preset quick: 6 epochs of fine-tuning. With the data set TrashNet (2,527 photographs, six
# classes), training takes 92 seconds of the processors, without a GPU. The macro F1 is 0.84, the
# mean of five splits with 0.83 to 0.86 (preset standard: 0.87)."""
BEST = """\
# Preset best: 80 epochs of fine-tuning, with MixUp. With the data set TrashNet (2,527 photographs,
# six classes), training takes 993 seconds of the processors, without a GPU. The macro F1 is
# 0.876, the mean of five splits with 0.867 to 0.902 (preset standard: 0.871)."""

PRESETS = {
    "quick": Preset({"train.finetune.epochs": 6}, QUICK),
    "standard": Preset({}, None),
    "best": Preset(
        {"train.finetune.epochs": 80, "train.mixup": 0.2, "train.early_stopping.patience": 80},
        BEST,
    ),
}


def with_preset(text: str, name: str) -> str:
    """Return the text of a card with the values of a preset, and with comments that name them.

    text: the text of the card for photographs, with the values of the preset `standard`. name: one
    of PRESETS.
    """
    preset = PRESETS[name]
    for key, value in preset.values.items():
        text = _with_remark(with_value(text, key.split("."), value), text, key)
    if preset.top is None:
        return text
    start = text.index(PARAGRAPH)
    end = text.index("\n#\n", start)
    return text[:start] + preset.top + text[end:]


def _with_remark(text: str, standard: str, key: str) -> str:
    """Add the value of `standard` to the end of the line of a changed value, in a comment.

    Nothing is added if the value is the same.
    """
    node = yaml_text.compose(text)
    before = yaml_text.parse(standard, Path("params.yaml"))
    for part in key.split("."):
        node = next(inner for name, inner in node.value if name.value == part)
        before = before[part]
    if yaml_text.scalar(before) == node.value:
        return text
    lines = text.splitlines(keepends=True)
    line = lines[node.end_mark.line].rstrip("\n")
    sign = ";" if " #" in line else " #"
    lines[node.end_mark.line] = f"{line}{sign} preset standard: {yaml_text.scalar(before)}\n"
    return "".join(lines)
