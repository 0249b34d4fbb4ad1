"""What all exported files have in common: a function from pixels to probabilities, and its names.

The formats are beside this file: saved_model_format.py, onnx_format.py and litert_format.py. Each
has a function that writes a file or folder, and one that reads it with the runtime of the format.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.model.backend import PREDICTION_BATCH

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Tensor:
    """An input or an output of an exported model, by the name that its runtime needs.

    shape: the sizes of its axes; None for the number of images.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Exported:
    """An exported model, opened by the runtime of its format.

    compute: uint8 [N, size, size, 3] → probabilities float32 [N, num_classes], for each N above 0.
    input, output: the two tensors.
    """

    compute: Callable[[Images], Floats]
    input: Tensor
    output: Tensor

    def predict(self, images: Images) -> Floats:
        """Return the probabilities of images, computed batch by batch."""
        parts = [
            self.compute(np.asarray(images[start : start + PREDICTION_BATCH]))
            for start in range(0, len(images), PREDICTION_BATCH)
        ]
        return np.concatenate(parts)


def image_shape(size: int) -> tuple[int | None, ...]:
    """Return the shape of the input of every format."""
    return (None, size, size, 3)
