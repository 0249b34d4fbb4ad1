"""The types of the training data: the examples of a split, and the balance plan of the classes."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from mmap import mmap
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from components.training_set.costs import cost_matrix


@dataclass(frozen=True)
class Examples:
    """N examples of one split. They can be sent to a process.

    inputs: the inputs of the classifier, [N, …]: uint8 images or float32 features. Images may be a
    memory map or ChosenInputs, so choose rows before anything else. labels: int64 [N], the class of
    each example as its position in the class names.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.labels)

    @cached_property
    def digests(self) -> list[bytes]:
        """Return a hash of each input; equal inputs have equal hashes."""
        if isinstance(self.inputs, ChosenInputs):
            return self.inputs.digests()
        shape = str(self.inputs.shape[1:]).encode()
        images = map(np.ascontiguousarray, self.inputs)
        return [
            hashlib.blake2b(shape + image.tobytes(), digest_size=16).digest() for image in images
        ]

    def __getstate__(self) -> dict[str, Any]:
        """Return what is sent to another process: of a memory map, only where it is on the disk."""
        inputs: Any = self.inputs
        # The base of a whole memory map is the file; the base of a part of it is the memory map.
        if isinstance(inputs, np.memmap) and isinstance(cast(object, inputs.base), mmap):
            order: Literal["C", "F"] = "C" if inputs.flags.c_contiguous else "F"
            inputs = (inputs.filename, inputs.dtype, "r", inputs.offset, inputs.shape, order)
        return {"inputs": inputs, "labels": self.labels}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what another process sent, and open the memory map."""
        if isinstance(state["inputs"], tuple):
            state = {**state, "inputs": np.memmap(*state["inputs"])}
        vars(self).update(state)


@dataclass(frozen=True)
class ChosenInputs:
    """Some rows of the inputs of one or more examples. It takes the place of their array.

    No input is copied or read before it is used: `chosen[index]` reads the inputs of an index, as
    NumPy does, for an index of the first axis. The digests are those of the parts, so each input is
    hashed only once, in however many choices it is.

    parts: the examples. rows: int64 [N], positions in the parts, which follow on each other.
    """

    parts: tuple[Examples, ...]
    rows: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Return [N, …]."""
        return (len(self.rows), *self.parts[0].inputs.shape[1:])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Return the inputs at a position, a slice or an array of positions."""
        rows = self.rows[index]
        first = self.parts[0].inputs
        inputs = np.empty((*np.shape(rows), *first.shape[1:]), first.dtype)
        start = 0
        for part in self.parts:
            inside = (rows >= start) & (rows < start + len(part))
            inputs[inside] = part.inputs[rows[inside] - start]
            start += len(part)
        return inputs

    def __array__(self, *_: Any, **__: Any) -> NDArray[Any]:
        """Raise TypeError: all inputs together may be larger than the memory."""
        raise TypeError("choose the rows first: np.asarray(inputs[rows])")

    def digests(self) -> list[bytes]:
        """Return a hash of each input."""
        digests = [digest for part in self.parts for digest in part.digests]
        return [digests[row] for row in self.rows]


def choose_rows(parts: Sequence[Examples], rows: NDArray[np.int64]) -> Examples:
    """Return examples with some rows of others, without a copy of their inputs.

    rows: int64 [N], positions in the parts, which follow on each other.

    >>> cats, dogs = Examples(np.eye(2), np.zeros(2, int)), Examples(np.ones((1, 2)), np.ones(1))
    >>> chosen = choose_rows([cats, dogs], np.array([2, 1]))
    >>> chosen.inputs[:].tolist(), chosen.labels.tolist()
    ([[1.0, 1.0], [0.0, 1.0]], [1.0, 0.0])
    """
    labels = np.concatenate([part.labels for part in parts])[rows]
    # It has all that training uses of an array.
    return Examples(cast(NDArray[Any], ChosenInputs(tuple(parts), rows)), labels)


@dataclass(frozen=True)
class Balance:
    """The plan of the stage `balance` as arrays [num_classes], in the order of the class names.

    targets: for each class, the number of its images that are drawn in an epoch. class_weights: for
    each class, the factor by which the loss of its images is multiplied. log_priors: for each
    class, the natural logarithm of its share in the loss. strategy: the strategy that made the
    plan. class_balanced_weights: for each class, the factor by which the loss
    `class_balanced_focal` also multiplies the loss of its images. costs: float32 [num_classes,
    num_classes], what each confusion costs (see `cost_matrix`); only the loss `cost_sensitive`
    uses it. It is [0, 0] if there are no costs.
    """

    targets: NDArray[np.int64]
    class_weights: NDArray[np.float32]
    log_priors: NDArray[np.float32]
    strategy: str = "none"
    class_balanced_weights: NDArray[np.float32] = field(
        default_factory=lambda: np.ones(1, np.float32)
    )
    costs: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    @classmethod
    def from_plan(cls, plan: Mapping[str, Any]) -> "Balance":
        """Convert the plan that the stage `balance` writes to a Balance."""
        names = plan["class_names"]
        costs = plan["costs"]
        return cls(
            np.array([plan["targets"][name] for name in names], np.int64),
            np.array([plan["class_weights"][name] for name in names], np.float32),
            np.array([plan["log_priors"][name] for name in names], np.float32),
            plan["strategy"],
            np.array([plan["class_balanced_weights"][name] for name in names], np.float32),
            (cost_matrix(costs, names) if costs else np.zeros((0, 0))).astype(np.float32),
        )

    def for_loss(self, loss: str) -> "Balance":
        """Return the plan with the weights of a loss, which is the value `train.loss`.

        The class-balanced loss of Cui et al. (2019) is another loss, multiplied by a weight for
        each class. So its weights travel with the images, as those of a strategy do.
        """
        if loss != "class_balanced_focal":
            return self
        shares = np.exp(self.log_priors) * self.class_balanced_weights
        return replace(
            self,
            class_weights=self.class_weights * self.class_balanced_weights,
            log_priors=np.log(shares / shares.sum()).astype(np.float32),
        )

    @property
    def epoch_size(self) -> int:
        """Return the number of images drawn in one epoch."""
        return int(self.targets.sum())


@dataclass(frozen=True)
class Data:
    """Everything that training reads.

    train, val: the examples of each split; the inputs are images, uint8 [N, size, size, 3].
    balance: the plan for drawing and weighting the images of train. class_names: the names of the
    classes; label n means the class class_names[n]. size: the side of the images in pixels. resize:
    the method by which the images were resized (squash, crop or pad). content: a sha256 (hex) that
    is different for different images; a checkpoint of a training on other images is not used.
    sixteen_bit, decode: by which rules the images were decoded, as in `Classifier`.
    """

    train: Examples
    val: Examples
    balance: Balance
    class_names: tuple[str, ...]
    size: int
    resize: str
    content: str
    sixteen_bit: str | Mapping[str, Any] = "high_byte"
    decode: Mapping[str, Any] | None = None
