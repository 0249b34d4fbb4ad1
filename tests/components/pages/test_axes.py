import pytest

from components.pages.axes import round_steps


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.03, 0.98, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.91, 0.99, [0.9, 0.92, 0.94, 0.96, 0.98, 1]),
        (0.5, 0.5, None),
        (12, 3100, [0, 1000, 2000, 3000, 4000]),
    ],
)
def test_axes_run_over_round_numbers_around_the_values(low, high, expected):
    steps = round_steps(low, high, 5)
    assert steps[0] <= low
    assert steps[-1] >= high
    assert len(steps) >= 2
    assert expected is None or steps == pytest.approx(expected)
