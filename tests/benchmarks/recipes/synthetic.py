"""Small pictures that a tiny network can learn in seconds, for --quick."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE, CLASSES, IMAGES = 16, 3, 40  # images of each class
# A small network of random weights, and one epoch of each phase.
QUICK = {
    "prepare.size": SIDE,
    "model.backbone": "compact",
    "model.width": 0.35,
    "model.weights": "none",
    "train.finetune.unfreeze": "all",
    "train.batch_size": 32,
    "train.head.epochs": 1,
    "train.finetune.epochs": 1,
}


def pictures(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return noise with a stripe whose place is the class: uint8 [N, SIDE, SIDE], and labels."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 160, (count, SIDE, SIDE), np.uint8)
    labels = np.arange(count) % CLASSES
    for image, label in zip(images, labels, strict=True):
        image[:, 4 * label + 2 : 4 * label + 5] = 250
    return images, labels


def write_photographs(folder: Path) -> Path:
    """Write PNG files in a folder for each class, and return the folder."""
    for number, (image, label) in enumerate(zip(*pictures(CLASSES * IMAGES, 1), strict=True)):
        path = folder / f"class{label}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
    return folder


def write_clothes(path: Path) -> Path:
    """Write an .npz like Keras' fashion_mnist.npz, and return its path."""
    (x_train, y_train), (x_test, y_test) = pictures(600, 1), pictures(60, 2)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path
