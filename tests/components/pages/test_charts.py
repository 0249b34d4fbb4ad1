"""Charts: marks and columns are where their values are."""

from itertools import pairwise

import pytest

from components.pages.charts import HEIGHT, LOWEST, WIDTH, histogram, round_steps

TENTHS = [number / 10 for number in range(11)]


def drawn(edges, counts, median=None):
    return histogram(edges, counts, median, "{:g}".format)


def test_columns_stand_on_the_axis_as_high_as_their_counts():
    made = drawn(TENTHS, [0, 4, 8, 5, 2, 1, 0, 0, 0, 0])
    assert [column.count for column in made.columns] == [4, 8, 5, 2, 1]
    assert not made.is_log
    for column in made.columns:
        assert column.y + column.height == pytest.approx(HEIGHT, abs=0.1)
        assert column.height == pytest.approx(HEIGHT * column.count / 8, abs=0.1)
        assert 0 <= column.x < column.x + column.width <= WIDTH
    assert (made.columns[0].low, made.columns[0].high) == ("0.1", "0.2")


def test_a_single_file_is_seen_beside_many():
    made = drawn(TENTHS, [1, 4000, 4500, 4000, 0, 0, 0, 0, 0, 0])
    assert made.columns[0].height == LOWEST


def test_heights_are_logarithmic_only_where_one_column_would_flatten_the_others():
    made = drawn(TENTHS, [10_000, 10, 100, 0, 0, 0, 0, 0, 0, 0])
    assert made.is_log
    assert made.columns[1].height == pytest.approx(HEIGHT * 2.398 / 9.21, abs=0.5)
    assert not drawn(TENTHS, [0, 10_000, 0, 0, 0, 0, 0, 0, 0, 0]).is_log


def test_the_median_lies_where_its_value_does():
    counts = [1] * 10
    assert drawn(TENTHS, counts, 0.25).median == pytest.approx(0.25 * WIDTH)
    assert drawn(TENTHS, counts, 7.0).median == WIDTH
    assert drawn(TENTHS, counts, -7.0).median == 0
    assert drawn(TENTHS, counts).median is None


@pytest.mark.parametrize("bins", [1, 2, 7, 10, 11, 13, 20, 21, 25, 32])
def test_labels_are_few_begin_at_the_first_edge_and_keep_their_distance(bins):
    edges = list(range(bins + 1))
    ticks = drawn(edges, [1] * bins).ticks
    assert ticks[0].at == 0
    assert len(ticks) <= 7
    steps = {int(after.text) - int(before.text) for before, after in pairwise(ticks)}
    assert len(steps) == 1


def test_an_axis_of_magnitudes_shows_those_that_occur():
    edges = [2.0**power for power in range(17)]
    made = drawn(edges, [0] * 7 + [3, 5] + [0] * 7, 200.0)
    assert made.ticks[0].text == "64"
    assert float(made.ticks[-1].text) <= 1024
    assert len(made.columns) == 2


def test_nothing_to_count_is_an_empty_axis():
    made = drawn(TENTHS, [0] * 10)
    assert made.columns == ()
    assert len(made.ticks) > 2


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
