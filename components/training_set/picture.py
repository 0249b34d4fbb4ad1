"""Rows of images with captions → one picture, as the bytes of a PNG file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]

SIDE = 84  # of an image in the picture, in pixels
GAP = 4
LINE = 12  # the height of a line of text
FONT_SCALE = 0.34
PAPER, INK = 255, 40


@dataclass(frozen=True)
class Tile:
    """An image of the picture, uint8 [H, W, 3], and at most two lines of text below it."""

    image: Images
    lines: tuple[str, ...]


def draw_picture(rows: Sequence[Sequence[Tile]]) -> bytes:
    """Return the bytes of a PNG file with the tiles in rows. Equal tiles give equal bytes.

    Every row has the same number of tiles. The picture is encoded by OpenCV, which the stages that
    train need anyway.
    """
    import cv2

    height, width = SIDE + 2 * LINE + GAP, SIDE + GAP
    size = (len(rows) * height + GAP, len(rows[0]) * width + GAP, 3)
    picture = np.full(size, PAPER, np.uint8)
    for row, tiles in enumerate(rows):
        for column, tile in enumerate(tiles):
            _draw(picture, tile, GAP + row * height, GAP + column * width)
    _, encoded = cv2.imencode(".png", picture[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return encoded.tobytes()


def example_rows(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the rows of `count` images, of as many classes as possible, int64 [count].

    labels: int64 [N]. If there are fewer images than `count`, the rows of all images are returned.

    >>> example_rows(np.array([0, 0, 0, 1, 2]), 4).tolist()
    [0, 3, 4, 1]
    """
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[order])
    turn = np.arange(len(labels)) - starts  # How many images of its class come before an image?
    return order[np.lexsort((labels[order], turn))][:count]


def caption(label: NDArray[Any], class_names: Sequence[str]) -> tuple[str, ...]:
    """Return a line for each class of an image, at most two, the largest share first.

    label: the class of the image, int, or the shares of all classes, float32 [C].

    >>> caption(np.array([0.4, 0, 0.6], np.float32), ["glass", "metal", "paper"])
    ('60 % paper', '40 % glass')
    >>> caption(np.array(1), ["glass", "metal", "paper"])
    ('metal',)
    """
    shares = label if label.ndim else np.arange(len(class_names)) == label
    largest = [int(number) for number in np.argsort(-shares.astype(float), kind="stable")[:2]]
    names = [class_names[number] for number in largest]
    if shares[largest[0]] > 0.995:
        return (names[0],)
    return tuple(
        f"{100 * shares[number]:.0f} % {name}" for number, name in zip(largest, names, strict=True)
    )


def _draw(picture: Images, tile: Tile, top: int, left: int) -> None:
    import cv2

    smaller = tile.image.shape[0] > SIDE
    how = cv2.INTER_AREA if smaller else cv2.INTER_NEAREST
    picture[top : top + SIDE, left : left + SIDE] = cv2.resize(
        tile.image, (SIDE, SIDE), interpolation=how
    )
    for number, line in enumerate(tile.lines, start=1):
        place = (left, top + SIDE + number * LINE - 2)
        cv2.putText(
            picture,
            _shortened(line),
            place,
            cv2.FONT_HERSHEY_SIMPLEX,
            FONT_SCALE,
            (INK, INK, INK),
            1,
            cv2.LINE_AA,
        )


def _shortened(line: str) -> str:
    """Return as much of a line as is not wider than an image."""
    import cv2

    while cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, FONT_SCALE, 1)[0][0] > SIDE:
        line = line.rstrip(".")[:-1] + ".."
    return line
