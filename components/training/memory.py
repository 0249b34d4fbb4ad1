"""A network and a batch size → an exception if no machine of this size can train it on its CPU.

If a CPU has too little memory, most operating systems end the process without a message. So the
memory is compared with an estimate before the first step. A GPU answers with an exception instead.
"""

import math
from pathlib import Path
from typing import Any

import psutil

from components.model.classifier import leaf_layers
from components.model.devices import gpu_names

FLOAT = 4  # bytes
# A step holds at least this share of the outputs of all layers: backends compute some in place.
# Measured on TensorFlow: 0.66 for `compact`, 0.80 for MobileNetV2, 0.97 for ResNet50.
HELD = 0.5
# Files in which Linux writes the memory that a container may use: cgroup version 2 and version 1.
LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def require_memory(model: Any, images: int) -> None:
    """Raise MemoryError if a step of training on a CPU needs more memory than the machine has.

    model: a keras.Model. images: the number of images in a batch on this machine.
    """
    if not gpu_names() and HELD * output_bytes(model, images) > memory_bytes():
        raise MemoryError


def output_bytes(model: Any, images: int) -> int:
    """Return the bytes of the outputs of all layers from the first layer that is trained.

    They are kept until their gradients are computed. model: a keras.Model; layers that are not
    trained are frozen. images: the number of images in a batch.
    """
    layers = list(leaf_layers(model))
    first = next((at for at, layer in enumerate(layers) if layer.trainable_weights), len(layers))
    numbers: list[int] = [math.prod(layer.output.shape[1:]) for layer in layers[first:]]
    return sum(numbers) * FLOAT * images


def memory_bytes() -> int:
    """Return the bytes of memory of the machine, or of the container if it may use less."""
    limits = [int(text) for path in LIMITS if (text := _content(path)).isdecimal()]
    return min([int(psutil.virtual_memory().total), *limits])


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
