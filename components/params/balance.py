"""Section `balance`: what is done about unequal class counts."""

from typing import Literal

from components.params.section import Section


class Balance(Section):
    """What is done about unequal class counts, on the training split alone."""

    strategy: Literal["none", "class_weight", "oversample", "undersample"]
