"""The reliability diagram: the diagonal is honest, and a disc is as large as its bin."""

import pytest

from components.calibration.scores import Bin, Calibration
from components.evaluation.reliability import (
    BOTTOM,
    LARGEST,
    LEFT,
    RIGHT,
    SMALLEST,
    TOP,
    reliability_diagram,
)


def test_an_accurate_bin_is_high_a_confident_one_is_right_and_their_areas_are_their_images():
    bins = (Bin(1, 0.0, 0.0), Bin(400, 0.5, 0.75), Bin(99_599, 1.0, 1.0))
    diagram = reliability_diagram("Test", {"after": Calibration(0.1, 0.2, 0.3, bins)})
    (curve,) = diagram.curves
    low, middle, high = curve.discs
    assert (low.x, low.y, high.x, high.y) == (LEFT, BOTTOM, RIGHT, TOP)
    assert middle.x == pytest.approx((LEFT + RIGHT) / 2)
    assert middle.y == pytest.approx(BOTTOM - 0.75 * (BOTTOM - TOP))
    assert high.radius == pytest.approx(LARGEST, abs=0.1)
    assert low.radius == middle.radius == SMALLEST
    assert middle.title == "confidence 0.500, accuracy 0.750, 400 images"
    assert curve.points.split()[1] == f"{middle.x},{middle.y}"
    assert [tick.at for tick in diagram.y_ticks] == sorted(
        (tick.at for tick in diagram.y_ticks), reverse=True
    )
    half = reliability_diagram("Val", {"b": Calibration(0, 0, 0, (Bin(5, 0.5, 1), Bin(5, 0.7, 1)))})
    assert half.curves[0].discs[0].radius == pytest.approx(LARGEST / 2**0.5, abs=0.05)
