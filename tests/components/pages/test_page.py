import base64
import io

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from components.images.png_writer import encode_png
from components.pages.page import data_uri, render
from tests.components.pages.outline import Outline


@pytest.fixture
def template(tmp_path):
    path = tmp_path / "hello.html.jinja"
    path.write_text(
        "{% extends 'frame.html.jinja' %}"
        "{% block title %}{{ title }}{% endblock %}"
        "{% block main %}<h1>{{ title }}</h1>{{ 1234 | count }}{% endblock %}"
    )
    return path


def test_every_page_has_the_frame_and_the_style_of_all(template):
    page = render(template, title="Hello")
    outline = Outline(page)
    assert page.startswith("<!doctype html>\n")
    assert outline.open == []
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert "1,234" in outline.text
    assert page == render(template, title="Hello")


def test_what_is_shown_is_escaped(template):
    page = render(template, title="</title><script>alert(1)</script>")
    assert "script" not in Outline(page).tags


def test_a_browser_is_told_to_run_nothing_and_to_load_nothing(template):
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in render(
        template, title=""
    )


def test_a_value_that_is_not_given_is_an_error(template):
    with pytest.raises(UndefinedError, match="title"):
        render(template)


def test_a_png_holds_the_very_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    kind, _, content = data_uri(encode_png(pixels), "png").partition(",")
    assert kind == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))), pixels)


def test_bytes_of_any_kind_can_stand_inside_a_page():
    assert data_uri(b"\xff\xd8", "jpeg") == "data:image/jpeg;base64,/9g="
