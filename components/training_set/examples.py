"""The types of training data: examples of a split, and the plan for drawing and weighting them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Examples:
    """Inputs [N, …] (uint8 images or float32 features) with labels int64 [N]."""

    inputs: NDArray[Any]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Return N."""
        return len(self.labels)


@dataclass(frozen=True)
class Balance:
    """The plan of the stage `balance` as arrays [num_classes], in the order of the class names.

    targets: number of images drawn in an epoch. class_weights: factor on the loss. log_priors:
    natural logarithm of the class's share in the loss.
    """

    targets: NDArray[np.int64]
    class_weights: NDArray[np.float32]
    log_priors: NDArray[np.float32]

    @classmethod
    def from_plan(cls, plan: Mapping[str, Any]) -> "Balance":
        """Return the plan that the stage `balance` writes, as a Balance."""
        names = plan["class_names"]
        return cls(
            np.array([plan["targets"][name] for name in names], np.int64),
            np.array([plan["class_weights"][name] for name in names], np.float32),
            np.array([plan["log_priors"][name] for name in names], np.float32),
        )

    @property
    def epoch_size(self) -> int:
        """Return the number of images drawn in one epoch."""
        return int(self.targets.sum())


@dataclass(frozen=True)
class Data:
    """Everything that training reads.

    train, val: images uint8 [N, size, size, 3] and labels. balance: the plan for train. resize: how
    the images were resized. content: a hash of the images; files of their features are named by it.
    """

    train: Examples
    val: Examples
    balance: Balance
    class_names: tuple[str, ...]
    size: int
    resize: str
    content: str
