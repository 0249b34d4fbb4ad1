"""The parts of the test report: which classes, points and rows they show."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from components.evaluation.abstention import abstention
from components.evaluation.curves import precision_recall_points, roc_points
from components.evaluation.interval import UNDEFINED, Interval, counted_interval
from components.evaluation.metrics import ClassMetrics, measure
from components.evaluation.page.answers import abstention_chart, chosen_answers
from components.evaluation.page.axis import axis_of
from components.evaluation.page.classes import CLASSES_SHOWN, class_table, confusions
from components.evaluation.page.costs import CLASSES_SHOWN as COSTS_CLASSES
from components.evaluation.page.costs import cost_tables
from components.evaluation.page.curves import curve_charts
from components.evaluation.page.pictures import class_pictures
from components.evaluation.page.slices import slice_chart
from components.evaluation.slices import Slice, Slices


def scores(name, recall, area=0.9):
    known = UNDEFINED if recall is None else counted_interval(round(200 * recall), 200, 0.95)
    return ClassMetrics(name, 100, known, known, known, Interval(area, None, None))


def test_an_axis_without_intervals_and_one_that_reaches_zero():
    assert axis_of([UNDEFINED]).low == 0.9
    assert axis_of([Interval(0.1, 0.04, 0.2)]).low == 0.0
    assert axis_of([Interval(0.9, 0.8, 1.0)]).percent(0.9) == 50


def test_of_many_classes_those_with_the_lowest_recall_are_shown_and_unknown_ones_last():
    few = [scores("a", 0.9), scores("b", None), scores("c", 0.1)]
    assert class_table(few).indices == (0, 1, 2)
    many = [scores("none", None), *(scores(str(n), n / 200) for n in range(CLASSES_SHOWN, 0, -1))]
    table = class_table(many)
    assert table.left_out == 1
    assert table.indices == tuple(range(CLASSES_SHOWN, 0, -1))


def test_confusions_are_sorted_and_a_wide_matrix_is_dense(digits, quick):
    metrics = measure(digits.labels, digits.probabilities, digits.class_names, quick, 1)
    found = confusions(metrics)
    wrong = digits.probabilities.argmax(axis=1) != digits.labels
    assert found.mistakes == wrong.sum()
    assert sum(map(sum, found.matrix)) == 300
    assert np.diag(np.array(found.matrix)).sum() == 300 - found.mistakes
    assert [pair.images for pair in found.pairs] == sorted(
        (pair.images for pair in found.pairs), reverse=True
    )
    assert not found.dense
    extra = tuple(scores(str(number), 0.5) for number in range(10, 14))
    assert confusions(replace(metrics, classes=metrics.classes + extra)).dense
    extra = tuple(scores(str(number), 0.5) for number in range(10, 41))
    assert confusions(replace(metrics, classes=metrics.classes + extra)).matrix == ()


def test_pictures_of_a_class_are_the_images_with_the_lowest_ids():
    images = np.arange(6, dtype=np.uint8).repeat(12).reshape(6, 2, 2, 3)
    rows = pd.DataFrame(
        {
            "image_id": list("fedcba"),
            "path": [f"{n}.png" for n in range(6)],
            "label_index": [0, 0, 0, 1, 1, 2],
        },
        index=range(10, 16),
    )
    found = class_pictures(rows, images, [0, 1, 3], count=2)
    assert {index: [picture.title for picture in shown] for index, shown in found.items()} == {
        0: ["2.png", "1.png"],
        1: ["4.png", "3.png"],
        3: [],
    }


@pytest.fixture(scope="module")
def curves(digits):
    args = (digits.labels, digits.probabilities, digits.class_names)
    return roc_points(*args), precision_recall_points(*args)


def areas(chart):
    """The area below each line, by its name."""
    found = {}
    for line in chart.lines:
        across, down = np.array([point.split(",") for point in line.points.split()], float).T
        found[line.name] = np.trapezoid(
            (chart.plot.bottom - down) / (chart.plot.bottom - chart.plot.top),
            (across - chart.plot.left) / (chart.plot.right - chart.plot.left),
        )
    return found


def test_the_mean_curves_have_the_mean_area_and_the_worst_classes_are_beside_them(
    curves, digits, quick
):
    metrics = measure(digits.labels, digits.probabilities, digits.class_names, quick, 1)
    charts = curve_charts(*curves, metrics.classes, metrics.macro_roc_auc.value)
    roc, precision_recall = (areas(chart) for chart in charts.charts)
    by_area = sorted(metrics.classes, key=lambda each: each.roc_auc.value)
    assert list(roc) == [*(each.name for each in by_area[:5]), "mean of all classes"]
    assert roc["mean of all classes"] == pytest.approx(metrics.macro_roc_auc.value, abs=0.01)
    for each in by_area[:5]:
        assert roc[each.name] == pytest.approx(each.roc_auc.value, abs=0.01)
    mean = next(line for line in charts.charts[1].lines if line.style == "mean")
    down = [float(point.split(",")[1]) for point in mean.points.split()]
    assert down == sorted(down)  # The interpolated precision never rises.
    # Its mean is not below that of scikit-learn's average precision.
    from sklearn.metrics import average_precision_score

    truth = np.eye(10)[digits.labels]
    average = average_precision_score(truth, digits.probabilities, average="macro")
    assert average - 0.005 < precision_recall["mean of all classes"] < average + 0.03


def test_classes_that_have_no_curve_are_left_out(curves, digits):
    known = [scores(name, 0.5) for name in digits.class_names]
    roc, precision_recall = (table[table["class"].isin(["1", "2"])] for table in curves)
    charts = curve_charts(roc, precision_recall, known, 0.9)
    assert (charts.classes, charts.mean) == (2, False)
    assert [name for _, name, _ in charts.lines] == ["1", "2"]
    assert curve_charts(roc[:0], precision_recall[:0], known, None) is None


def test_the_table_of_answers_has_the_nearest_points_that_answer_enough():
    probabilities = np.stack([np.linspace(0.6, 0.99, 10), 1 - np.linspace(0.6, 0.99, 10)], axis=1)
    found = abstention(np.array([1, 1, *[0] * 8]), probabilities, 0.95)
    chosen = chosen_answers(found)
    assert [row.answered for row in chosen] == [1.0, 0.9, 0.8, 0.7, 0.5]
    assert [row.accuracy.value for row in chosen] == pytest.approx([0.8, 8 / 9, 1, 1, 1], abs=1e-6)
    assert len(chosen_answers(abstention(np.array([0]), probabilities[:1], 0.95))) == 1
    assert len(abstention_chart(found).lines[0].points.split()) == 10


def a_slice(name, accuracy, weak):
    return Slice(name, name, 20, Interval(accuracy, 0.1, 0.9), 0.5, 0.5, 0.01, weak)


def test_weak_slices_come_first_then_the_lowest_accuracy():
    rows = [a_slice("even", 0.9, False), a_slice("low", 0.2, False), a_slice("weak", 0.5, True)]
    empty = replace(rows[0], name="empty", images=0, accuracy=UNDEFINED)
    chart = slice_chart(Slices((*rows, empty), 3, 3))
    assert [row.name for row in chart.rows] == ["weak", "low", "even"]
    assert slice_chart(Slices((empty,), 0, 0)) is None


def test_classes_that_get_more_or_fewer_images_are_listed_and_bounded(quick):
    from components.evaluation.operating_point import operating_point
    from components.training_set.costs import cost_matrix

    classes = 80
    names = tuple(f"{number:02}" for number in range(classes))
    # Class n has n // 10 + 1 images. The class after that of an image is nearly as probable.
    labels = np.repeat(np.arange(classes), np.arange(classes) // 10 + 1)
    images = np.arange(len(labels))
    probabilities = np.full((len(labels), classes), 0.1 / classes)
    probabilities[images, labels] += 0.5
    probabilities[images, (labels + 1) % classes] += 0.4
    costs = {names[n + 1]: {names[n]: 9.0} for n in range(0, classes - 1, 2)}
    point = operating_point(labels, probabilities, cost_matrix(costs, names), names, quick, 1)
    found = cost_tables(costs, point)
    assert len(found.classes) == COSTS_CLASSES
    differences = [abs(after - before) for before, after in (row.given for row in found.classes)]
    assert differences == sorted(differences, reverse=True)
    assert differences[0] > differences[-1] >= 4
    assert found.more_classes > 0
    assert (len(found.listed), found.more_costs) == (20, 20)
    assert found.classes[0].given[0] != found.classes[0].given[1]
    assert cost_tables(costs, None) is None
    written = {names[0]: {names[1]: 1.0, names[2]: 3.0}}
    assert cost_tables(written, point).listed == ((names[0], names[2], 3.0),)


def test_a_class_that_gets_as_many_images_but_other_ones_is_listed(quick):
    from components.evaluation.operating_point import operating_point

    labels = np.array([0, 1, 0, 1, 2, 2])
    probabilities = np.array(
        [
            *([0.45, 0.4, 0.15], [0.3, 0.5, 0.2], [0.5, 0.35, 0.15], [0.5, 0.25, 0.25]),
            *([0.02, 0.03, 0.95], [0.03, 0.02, 0.95]),
        ]
    )
    costs = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
    point = operating_point(labels, probabilities, costs, ("a", "b", "c"), quick, 1)
    # As many images get `a`, but now those that are `a` do not.
    least = replace(point.least_cost, recall=np.array([0.5, *point.least_cost.recall[1:]]))
    found = cost_tables({}, replace(point, least_cost=least))
    assert [(row.name, row.given) for row in found.classes] == [("a", (3, 3))]
    assert found.listed == ()
