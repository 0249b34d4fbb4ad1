"""Section `balance`: what is done about classes of unequal size."""

from typing import Literal

from components.params.section import Section


class Balance(Section):
    """What is done about classes of unequal size, in the train split alone."""

    strategy: Literal["none", "class_weight", "oversample", "undersample"]
