"""A picture of images with captions, of which equal tiles give equal bytes."""

import cv2
import numpy as np

from components.training_set.picture import SIDE, Tile, caption, draw_picture, example_rows


def opened(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


def test_images_are_in_their_places_in_their_colours_whatever_their_size() -> None:
    red, blue = np.zeros((8, 8, 3), np.uint8), np.zeros((300, 300, 3), np.uint8)
    red[..., 0], blue[..., 2] = 200, 100
    tiles = [[Tile(red, ("a",)), Tile(blue, ("50 % b", "50 % c"))]] * 2
    data = draw_picture(tiles)
    assert draw_picture(tiles) == data
    picture = opened(data)
    assert (picture[:, :, 0] == 200).sum() >= 2 * SIDE**2
    assert (picture == (0, 0, 100)).all(axis=2).sum() == 2 * SIDE**2
    assert not np.array_equal(
        opened(draw_picture([[Tile(red, ("a",))]])), opened(draw_picture([[Tile(red, ())]]))
    )


def test_a_name_that_is_too_long_does_not_reach_the_next_image() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    rows = [[Tile(black, ("a name that is much longer than the image is wide",)), Tile(black, ())]]
    picture = opened(draw_picture(rows))
    assert (picture[:, -SIDE - 4 :][SIDE + 6 :] == 255).all()


def test_names_are_drawn_in_any_letters() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    names = ("glass", "стекло", "бумага", "玻璃", "纸")
    assert len({draw_picture([[Tile(black, (name,))]]) for name in names}) == len(names)
    shares = np.array([0.25, 0.75], np.float32)
    assert caption(shares, ["glass", "стекло"]) == ("75 % стекло", "25 % glass")


def test_examples_are_of_all_classes_and_never_more_than_there_are() -> None:
    labels = np.array([2, 2, 0, 2, 1, 0])
    assert labels[example_rows(labels, 5)].tolist() == [0, 1, 2, 0, 2]
    assert len(example_rows(labels, 9)) == 6
