"""Thumbnails: small, of the same shape, and the same bytes each time."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from components.validation.page.thumbnails import SIDE_PX, TINY_PX, picture_uri, thumbnail
from tests.components.pictures import scene


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (480, 640, (120, 160)),
        (640, 480, (160, 120)),
        (161, 161, (160, 160)),
        (333, 1000, (53, 160)),
        (2, 100_000, (1, 160)),
        (100_000, 1, (160, 1)),
        (160, 20, (160, 20)),
        (1, 1, (1, 1)),
    ],
)
def test_the_aspect_is_kept_and_nothing_is_added(height, width, expected):
    made = thumbnail(np.full((height, width, 3), 200, np.uint8))
    assert made.shape == (*expected, 3)
    assert made.min() == 200  # no black bar


def test_a_small_picture_is_left_as_it_is():
    pixels = scene(0, 40, SIDE_PX)
    assert thumbnail(pixels) is pixels


def test_a_photograph_becomes_a_few_kilobytes_that_look_like_it():
    made = thumbnail(scene(1, 480, 640)[..., :1].repeat(3, axis=2))
    uri = picture_uri(made)
    assert uri.startswith("data:image/jpeg;base64,")
    assert len(uri) < 12_000
    difference = np.abs(np.asarray(opened(uri), int) - made)
    assert difference.mean() < 6


def test_single_pixels_are_kept_where_they_are_seen():
    pixels = scene(2, TINY_PX, 9)
    uri = picture_uri(pixels)
    assert uri.startswith("data:image/png;base64,")
    assert np.array_equal(np.asarray(opened(uri)), pixels)


def test_equal_pixels_give_equal_bytes_however_they_lie_in_memory():
    pixels = scene(3, 100, 120)
    assert picture_uri(np.asfortranarray(pixels)) == picture_uri(pixels)
