"""Facts of pictures: what they measure, and that size, light and machine do not change it."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from components.images.decoder import Pixels
from components.parallel import in_threads
from tests.components.pictures import measure

BLURRY = 0.15  # validate.blurry.min_sharpness


@pytest.fixture(scope="module")
def photographs() -> list[Pixels]:
    """Two photographs of 427 × 640 pixels that come with scikit-learn: a temple and a flower."""
    return list(load_sample_images().images)


def letterboxed(picture: Pixels, share: float) -> Pixels:
    """Put black bars above and below, which then have `share` of the area."""
    bar = round(len(picture) * share / (1 - share) / 2)
    return np.pad(picture, [(bar, bar), (0, 0), (0, 0)])


def test_brightness_contrast_and_entropy_of_half_black_half_white() -> None:
    picture = np.zeros((10, 20, 3), np.uint8)
    picture[:, 10:] = 255
    facts = measure(picture)
    assert (facts["brightness_p1"], facts["brightness_p99"]) == (0.0, 1.0)
    assert (facts["brightness"], facts["contrast"], facts["entropy"]) == (0.5, 0.5, 1.0)
    assert facts["aspect"] == 2.0


def test_saturation_is_1_for_pure_colours_and_0_for_greys() -> None:
    grey, red = np.full((2, 9, 9, 3), 100, np.uint8)
    red[..., 1:] = 0
    assert (measure(red)["saturation"], measure(grey)["saturation"]) == (1.0, 0.0)


@pytest.mark.parametrize("colour", [0, 77, 255])
def test_a_picture_of_one_colour_has_nothing_in_it(colour: int) -> None:
    facts = measure(np.full((30, 40, 3), colour, np.uint8))
    assert (facts["contrast"], facts["entropy"], facts["sharpness"]) == (0.0, 0.0, 0.0)
    assert facts["border_share"] == 1.0


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (1, 5000), (300_000, 1)])
def test_pictures_of_every_shape_are_measured_without_a_warning(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    with warnings.catch_warnings(action="error"):
        facts = measure(picture)
    assert len(facts) == 9
    assert np.isfinite(list(facts.values())).all()
    assert facts["aspect"] == round(shape[1] / shape[0], 6)


@pytest.mark.parametrize(
    "resized",
    [
        lambda picture: cv2.resize(picture, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC),
        lambda picture: cv2.resize(picture, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA),
    ],
)
def test_the_same_picture_at_another_size_has_the_same_facts(
    resized: Callable[[Pixels], Pixels], photographs: list[Pixels]
) -> None:
    for photograph in photographs:
        facts, others = measure(photograph), measure(resized(photograph))
        for name, value in facts.items():
            exactness = 0.25 if name == "sharpness" else 0.1
            assert others[name] == pytest.approx(value, rel=exactness, abs=0.04), name


def test_blurred_pictures_are_told_from_sharp_ones_at_every_size(
    photographs: list[Pixels],
) -> None:
    for photograph in photographs:
        assert measure(photograph)["sharpness"] > BLURRY
        blurred = cv2.GaussianBlur(photograph, (0, 0), 10)  # 4 pixels in 256
        larger = cv2.resize(blurred, None, fx=3, fy=3)
        assert max(measure(blurred)["sharpness"], measure(larger)["sharpness"]) < BLURRY


def test_a_dark_picture_is_not_a_blurred_one(photographs: list[Pixels]) -> None:
    for photograph in photographs:
        dark = (photograph * 0.1).astype(np.uint8)
        assert measure(dark)["brightness_p99"] < 0.2
        assert measure(dark)["sharpness"] > BLURRY


def test_a_sharp_object_before_a_plain_wall_is_sharp(photographs: list[Pixels]) -> None:
    wall = np.full((1000, 1000, 3), 128, np.uint8)
    wall[450:600, 450:600] = photographs[0][100:250, 200:350]
    assert measure(wall)["sharpness"] > BLURRY


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_bars_are_measured_by_their_share_also_after_jpeg(
    share: float, photographs: list[Pixels]
) -> None:
    for photograph in photographs:
        boxed = letterboxed(photograph, share)
        _, data = cv2.imencode(".jpg", boxed, [cv2.IMWRITE_JPEG_QUALITY, 60])
        for picture in (boxed, boxed.transpose(1, 0, 2), cv2.imdecode(data, cv2.IMREAD_COLOR)):
            assert measure(picture)["border_share"] == pytest.approx(share, abs=0.04)
        assert measure(photograph)["border_share"] < 0.05


def test_a_bar_at_one_side_is_found_at_each_side(photographs: list[Pixels]) -> None:
    barred = np.pad(photographs[1][:400, :400], [(100, 0), (0, 0), (0, 0)])
    for turns in range(4):
        assert measure(np.rot90(barred, turns))["border_share"] == pytest.approx(0.2, abs=0.02)


def test_facts_are_the_same_in_threads(photographs: list[Pixels]) -> None:
    pictures = [photograph[top:] for photograph in photographs for top in range(40)]
    assert list(in_threads(measure, pictures)) == [measure(picture) for picture in pictures]


def test_facts_do_not_depend_on_the_instructions_of_the_processor() -> None:
    program = (
        "import sys, cv2; cv2.setUseOptimized(sys.argv[1] == 'fast')\n"
        "from sklearn.datasets import load_sample_images\n"
        "from tests.components.pictures import measure\n"
        "print([measure(picture) for picture in load_sample_images().images])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program, how],
            cwd=Path(__file__).parents[3],
            env={"OPENCV_CPU_DISABLE": "" if how == "fast" else "AVX2,AVX,FP16"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for how in ("fast", "plain")
    }
    assert len(printed) == 1
    assert "sharpness" in printed.pop()
