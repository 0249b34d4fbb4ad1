"""A chart of two numbers: points, bands and marks are where their values are."""

from components.pages.xy_chart import SMALL, SQUARE, Scale, Series, share_scale, xy_chart

X, Y = share_scale("share"), Scale("accuracy", 0.5, 1.0, {0.5: "0.5", 1.0: "1"})


def test_a_line_runs_between_the_edges_of_the_plot():
    chart = xy_chart("a", X, Y, [Series("b", "c1", [(0, 0.5), (0.5, 0.75), (1, 1)])])
    corner, opposite = f"{SQUARE.left},{SQUARE.bottom}", f"{SQUARE.right},{SQUARE.top}"
    assert chart.lines[0].points == f"{corner} 180.0,156.0 {opposite}"
    assert (chart.lines[0].band, chart.lines[0].discs, chart.guide) == ("", (), "")


def test_the_band_goes_along_the_upper_ends_and_back_along_the_lower_ones():
    line = Series("b", "c1", [(0, 0.75), (1, 0.75)], [(0.5, 1.0), (0.75, 1.0)], ["one", "two"])
    drawn = xy_chart("a", X, Y, [line], guide=[(0, 1), (1, 1)])
    assert drawn.lines[0].band == "40.0,26.0 320.0,26.0 320.0,156.0 40.0,286.0"
    assert [(disc.x, disc.title) for disc in drawn.lines[0].discs] == [
        (40.0, "one"),
        (320.0, "two"),
    ]
    assert drawn.guide == "40.0,26.0 320.0,26.0"


def test_marks_are_at_their_values():
    chart = xy_chart("a", Scale("n", -0.5, 3.5, {0.0: "none", 3.0: "5"}), Y, [], plot=SMALL)
    assert [(tick.at, tick.text) for tick in chart.x_ticks] == [(65.0, "none"), (215.0, "5")]
    assert [(tick.at, tick.text) for tick in chart.y_ticks] == [(126.0, "0.5"), (26.0, "1")]
    assert list(X.ticks.values()) == ["0", "0.25", "0.5", "0.75", "1"]
