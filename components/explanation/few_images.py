"""A network and a few images → its outputs, without the padding that many images are worth.

`components.model.classifier.outputs` fills every batch up to 64 inputs, so that a network is
compiled once. For one image, this is 64 times the work.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH = 8


def outputs_of_few(model: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the outputs of a keras.Model for images: uint8 [N, S, S, 3] → float32 [N, …]."""
    parts = [
        np.asarray(model(np.asarray(images[start : start + BATCH]), training=False), np.float32)
        for start in range(0, len(images), BATCH)
    ]
    return np.concatenate([np.empty((0, *model.output_shape[1:]), np.float32), *parts])
