"""A training image and a random generator → a randomly changed copy of the image.

Only this module imports the library albumentations. `Compose` is the class of albumentations that
changes an image. If two threads used the same object of this class, its random numbers would depend
on which thread is faster. So each thread has its own object. The object gets a new seed for every
image, so the random changes do not depend on the thread.
"""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.params.train import Augmentation

Augment = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]


def build_augmentation(augmentation: Augmentation) -> Augment:
    """Return a function that changes an image at random.

    augmentation: the section `train.augmentation` of params.yaml, which sets the kinds of changes.
    The returned function takes an image uint8 [H, W, 3] and a random generator, and returns an
    image uint8 [H, W, 3]. The returned image depends only on `augmentation`, on the image that the
    function takes, and on the state of the generator.
    """
    thread = threading.local()

    def augment(image: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
        if not hasattr(thread, "compose"):
            thread.compose = _compose(augmentation)
        thread.compose.set_random_seed(int(generator.integers(2**31)))
        changed: NDArray[np.uint8] = thread.compose(image=np.ascontiguousarray(image))["image"]
        return changed

    return augment


def _compose(augmentation: Augmentation) -> Any:
    import albumentations as A  # noqa: N812 - the usual name of albumentations
    import cv2

    cv2.setNumThreads(0)  # OpenCV starts no threads, since TensorFlow needs the cores.
    changes: list[Any] = []
    if augmentation.horizontal_flip:
        changes.append(A.HorizontalFlip(p=augmentation.horizontal_flip))
    if augmentation.vertical_flip:
        changes.append(A.VerticalFlip(p=augmentation.vertical_flip))
    if augmentation.rotate or augmentation.shift or augmentation.scale:
        changes.append(
            A.Affine(
                rotate=(-augmentation.rotate, augmentation.rotate),
                translate_percent=(-augmentation.shift, augmentation.shift),
                scale=(1 - augmentation.scale, 1 + augmentation.scale),
                border_mode=cv2.BORDER_REPLICATE,
                p=1.0,
            )
        )
    if augmentation.brightness or augmentation.contrast:
        changes.append(
            A.ColorJitter(
                brightness=(1 - augmentation.brightness, 1 + augmentation.brightness),
                contrast=(1 - augmentation.contrast, 1 + augmentation.contrast),
                saturation=(1.0, 1.0),
                hue=(0.0, 0.0),
                p=1.0,
            )
        )
    if augmentation.erase:
        changes.append(A.CoarseDropout(num_holes_range=(1, 1), p=augmentation.erase))
    return A.Compose(changes)
