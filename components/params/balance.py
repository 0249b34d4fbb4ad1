"""Section `balance`: how training treats classes with unequal numbers of images."""

from typing import Literal

from components.params.section import Section


class Balance(Section):
    """How classes with unequal numbers of images are treated, in the split train only.

    strategy: `none`: all images are drawn once per epoch, and have the same weight.
    `class_weight`: the loss of an image is multiplied by a weight, which is higher for small
    classes. `oversample`: images of small classes are drawn several times per epoch. `undersample`:
    only a part of the images of large classes is drawn per epoch.
    """

    strategy: Literal["none", "class_weight", "oversample", "undersample"]
