"""Section `train`, training data → a picture of training images and their random changes."""

from dataclasses import replace

import numpy as np

from components.params.train import Train
from components.training.augmentation import build_augmentation
from components.training.batches import Stream
from components.training.mixing import build_mixing
from components.training_set.examples import Data
from components.training_set.picture import Tile, caption, draw_picture, example_rows

IMAGES, CHANGES = 6, 6  # how many images are shown, and how often each is changed


def draw_augmentation(train: Train, data: Data) -> bytes:
    """Return a PNG picture of training images as they are, and as the first batches change them.

    Each of its rows has an image, and then its changed copies. If images are mixed, an image is
    mixed with that of the next row.
    """
    rows = example_rows(data.train.labels, IMAGES)
    classes = len(data.class_names)
    mixing = build_mixing(train, classes, CHANGES)
    # Without the weights of the classes, the shares are those of the pixels.
    balance = replace(data.balance, class_weights=np.ones(classes, np.float32))
    policy = build_augmentation(train.augmentation)
    stream = Stream(data.train, balance, len(rows), train.seed, policy, mixing=mixing)
    plain = replace(stream, policy=None, mixing=None)
    batches = [plain.batch_of(rows, 0), *(stream.batch_of(rows, n) for n in range(CHANGES))]
    columns = [
        [
            Tile(image, caption(label, data.class_names))
            for image, label in zip(images, labels, strict=True)
        ]
        for images, labels, _ in batches
    ]
    return draw_picture(list(zip(*columns, strict=True)))
