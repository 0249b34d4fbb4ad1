"""Section `balance`: how training treats classes with unequal numbers of images."""

from typing import Literal

from components.params.section import Section


class Balance(Section):
    """How classes with unequal numbers of images are treated, in the split train only."""

    strategy: Literal["none", "class_weight", "oversample", "undersample"]
