"""The test report says what was measured, shows all names, and is bounded."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from components.calibration.scores import calibration
from components.evaluation.explained import Explained
from components.evaluation.interval import Interval, counted_interval
from components.evaluation.metrics import ClassMetrics, measure
from components.evaluation.page.classes import CLASSES_SHOWN, CONFUSIONS_ALONE
from components.evaluation.page.slices import SHOWN
from components.evaluation.report import Material, report
from components.evaluation.robustness import Corrupted, Robustness
from components.evaluation.slice_members import Members
from components.explanation.mistakes import ConfusedPair
from tests.components.evaluation.material import (
    EFFECT,
    HISTORY,
    NOTHING,
    evaluation_of,
    explained,
    material_of,
    subject,
)
from tests.components.pages.outline import Outline

HOSTILE = ("<b>", '"><script>alert(1)</script>', "\u202egnp.exe", *"3456789")
SECTIONS = {"classes", "confusion", "mistakes", "curves", "calibration", "abstention", "training"}
COSTS = {"3": {"8": 5.0}, "9": {"1": 2.5}}
MEASURED = Interval(0.5, 0.4, 0.6)
CORRUPTED = Robustness(
    100,
    Interval(0.9, 0.8, 0.95),
    tuple(Corrupted("gaussian_noise", severity, MEASURED) for severity in (1, 3, 5)),
)


@pytest.fixture
def page_of(digits, quick):
    def page(names=digits.class_names, history=HISTORY, kept=slice(None), explain=0, **more):
        labels, probabilities = digits.labels[kept], digits.probabilities[kept]
        figures = evaluation_of(labels, probabilities, names, quick, **more)
        costs = more.get("costs")
        about = material_of(labels, probabilities, names, digits.images[kept], costs)
        found = explained(about, explain) if explain else NOTHING
        return report(subject(names), figures, history, EFFECT, about, found)

    return page


def whole(page_of, digits):
    """The page with every part."""
    dark = Members("dark", "dark", "brightness at most 0.2", np.arange(len(digits.labels)) < 30)
    return page_of(explain=3, members=[dark], costs=COSTS, robustness=CORRUPTED)


def test_the_page_is_well_formed_and_needs_nothing_beside_it(page_of, digits):
    page = whole(page_of, digits)
    outline = Outline(page)
    assert outline.open == []
    assert not {"script", "link"} & set(outline.tags)
    pictures = [link for link in outline.links if not link.startswith("#")]
    assert pictures
    assert all(re.match(r"data:image/(png|jpeg);base64,", link) for link in pictures)
    assert not re.search(r"url\(|@import|https?:", page)


def test_the_contents_lead_to_every_section_and_each_id_is_there_once(page_of, digits):
    outline = Outline(whole(page_of, digits))
    led = {link[1:] for link in outline.links if link.startswith("#")}
    assert led <= set(outline.ids)
    assert len(outline.ids) == len(set(outline.ids))
    assert SECTIONS | {"slices", "costs", "corruptions"} == set(outline.sections) - {""}
    assert set(outline.sections) - {""} <= led


def test_what_was_not_measured_leaves_no_empty_part(page_of):
    page = page_of()
    outline = Outline(page)
    assert set(outline.sections) - {""} == SECTIONS
    assert not {"#slices", "#costs", "#corruptions"} & set(outline.links)
    assert "the map over the image" not in page
    assert "confidence" in outline.section("mistakes")


def test_the_title_says_model_and_data(page_of):
    title = "compact, model a1a1a1a1a1a1, on data b2b2b2b2b2b2 – test report"
    assert f"<title>{title}</title>" in page_of()


def test_names_of_classes_and_files_are_shown_and_escaped(page_of):
    page = page_of(HOSTILE, explain=3, costs={HOSTILE[0]: {HOSTILE[1]: 5.0}})
    outline = Outline(page)
    assert outline.open == []
    assert "script" not in outline.tags
    assert {"<b>", '"><script>alert(1)</script>', r"\u202egnp.exe"} <= set(outline.names)
    assert "\u202e" not in page


def test_equal_arguments_give_equal_bytes(page_of, digits):
    assert whole(page_of, digits) == whole(page_of, digits)


def test_a_class_without_test_images_is_shown_without_figures(page_of, digits):
    text = Outline(page_of(kept=digits.labels != 4)).section("classes")
    assert re.search(r"\b4 0 – – – – 5\b", text)


def test_the_table_tells_the_same_as_the_metrics(page_of, digits, quick):
    metrics = measure(digits.labels, digits.probabilities, digits.class_names, quick, 1)
    text = Outline(page_of()).text
    assert f"95 % interval {metrics.macro_f1.low:.3f}–{metrics.macro_f1.high:.3f}" in text
    for found in metrics.classes:
        figures = (found.precision, found.recall, found.f1, found.roc_auc)
        ends = ("" if one.low is None else f"{one.low:.3f}–{one.high:.3f}" for one in figures)
        cells = (rf"{one.value:.3f}{of}\s+" for one, of in zip(figures, ends, strict=True))
        assert re.search(rf"\b{found.name}\s+{found.support}\s+{''.join(cells)}", text)


def test_each_class_has_pictures_of_itself(page_of, digits):
    from PIL import Image

    page = page_of()
    row = r'<th scope="row"><bdi>(\d)</bdi></th>\s*<td class="pictures">(.*?)</td>'
    rows = re.findall(row, page, re.DOTALL)
    assert [name for name, _ in rows] == list(digits.class_names)
    for name, pictures in rows:
        uris = re.findall(r"base64,([^\"]+)", pictures)
        assert len(uris) == 4
        own = digits.images[digits.labels == int(name)]
        for uri in uris:
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri))))
            assert (own == pixels).all(axis=(1, 2, 3)).any()


def test_history_marks_phases_and_the_kept_epoch_and_survives_one_that_diverged(page_of):
    page = page_of()
    outline = Outline(page)
    assert "epoch 2 of the phase head" in outline.section("training")
    # The plot is 428 units wide from 44, so the second of three epochs is in the middle.
    assert page.count('<line class="kept" x1="258.0"') == 2
    assert "fine-tune" in outline.text
    assert "nan" not in page
    never = Outline(page_of(history=HISTORY.assign(kept=False)))
    assert "kept" not in never.section("training")


@pytest.mark.parametrize("rows", [0, 1])
def test_a_short_history_is_no_problem(page_of, rows):
    sections = Outline(page_of(history=HISTORY.head(rows))).sections
    assert ("training" in sections) == bool(rows)


def test_the_temperature_and_what_it_changed_are_shown(page_of, digits):
    page = page_of()
    text = Outline(page).section("calibration")
    assert "a temperature of 0.5, which was fitted on 40 val images." in text
    assert "Note: val has no <mistake>." in text
    assert "val, after 0.020 0.500 0.300 val, before 0.250 0.700 0.400" in text
    measured = calibration(digits.labels, digits.probabilities)
    scores = f"{measured.ece:.3f} {measured.nll:.3f} {measured.brier:.3f}"
    assert f"test, after {scores}" in text
    # The diagram is 260 units wide from 44 and high from 290: 0.55 and 0.8 are at 187 and 82.
    assert '<circle class="before" cx="187.0" cy="82.0" r="12.1">' in page
    assert "confidence 0.550, accuracy 0.800, 30 images" in page
    assert 'points="187.0,82.0 278.0,30.0"' in page


def test_a_mistake_has_one_panel_and_later_parts_name_it(page_of, digits):
    page = page_of(explain=3)
    outline = Outline(page)
    panels = [name for name in outline.ids if name.startswith("mistake-")]
    assert panels == [f"mistake-{number}" for number in range(1, len(panels) + 1)]
    text = outline.section("mistakes")
    # The surest mistake is of the class that counts as the weakest one here.
    assert "Shown above: 1" in text or "All are shown above: 1" in text
    assert page.count("the map over the image") == 2 * len(panels)  # as text and as tooltip
    assert "7 × 5 places" in text
    near = re.findall(r"<span>(<b>)?<bdi>[^<]*</bdi>(?:</b>)?</span><span>(0\.\d\d)</span>", page)
    # Of the two training images of each panel, the nearer one has the predicted class.
    assert near == [("<b>", "0.12"), ("", "0.25")] * len(panels)
    assert "Of 4 training images, 2 were compared." in text
    paths = re.findall(r"<code><bdi>(.*?)</bdi></code>", page)
    assert len(paths) == len(panels) + 2
    wrong = int((digits.probabilities.argmax(axis=1) != digits.labels).sum())
    assert f"{wrong - len(paths)} mistakes are left out" in text
    assert len(paths) == len(set(paths))  # The gallery does not show them again.


@pytest.mark.parametrize(
    ("images", "words"),
    [(1, "1 image All are shown above: 1"), (7, "7 images The surest are shown above: 1")],
)
def test_a_pair_of_which_some_are_above_does_not_say_that_all_are(digits, quick, images, words):
    args = (digits.labels, digits.probabilities, digits.class_names)
    about = material_of(*args, digits.images)
    made = explained(about, 2)
    worst = made.found.worst[0]
    pair = ConfusedPair(worst.label, worst.predicted, images, (worst,))
    made = replace(made, found=replace(made.found, pairs=(pair,)))
    figures = evaluation_of(*args, quick)
    page = report(subject(digits.class_names), figures, HISTORY, EFFECT, about, made)
    assert words in Outline(page).section("mistakes")


def test_an_empty_map_and_what_prevents_explanations_are_said_in_words(digits, quick):
    args = (digits.labels, digits.probabilities, digits.class_names)
    figures, about = evaluation_of(*args, quick), material_of(*args, digits.images)
    made = (subject(digits.class_names), figures, HISTORY, EFFECT, about)
    page = report(*made, explained(about, 2, mapped=False))
    assert "nothing in the image speaks for this class" in page
    assert "the map over the image" not in page
    text = Outline(report(*made, Explained(None, "the network <x> has no maps"))).text
    assert "No mistake is explained: the network <x> has no maps." in text


def test_mistakes_beyond_the_number_of_params_are_counted(page_of, digits):
    wrong = int((digits.probabilities.argmax(axis=1) != digits.labels).sum())
    text = Outline(page_of()).section("mistakes")
    assert f"{wrong - 5} mistakes are left out; predictions.parquet has all." in text


def test_a_perfect_model_has_no_mistakes(digits, quick):
    certain = np.eye(10, dtype=np.float32)[digits.labels]
    args = (digits.labels, certain, digits.class_names)
    about = material_of(*args, digits.images)
    figures = evaluation_of(*args, quick)
    outline = Outline(report(subject("ab"), figures, HISTORY, EFFECT, about, NOTHING))
    assert "mistakes" not in outline.sections
    assert "Every test image is predicted correctly." in outline.section("confusion")
    assert "#mistakes" not in outline.links


def test_the_weakest_slice_is_named_and_an_even_model_has_none(page_of, digits):
    wrong = digits.probabilities.argmax(axis=1) != digits.labels
    members = [
        Members("<dark>", "dark", "brightness at most 0.2", wrong | (np.arange(300) % 30 == 0)),
        Members("small", "small", "side at most 9", np.arange(300) % 10 == 0),
    ]
    text = " ".join(Outline(page_of(members=members)).text.split())
    assert "The weakest slice is <dark>, with an accuracy of" in text
    assert "The weakest slice is <dark> (brightness at most 0.2):" in text
    even = Outline(page_of(members=members[1:])).section("slices")
    assert "1 slice and 0 pairs were tested: none is surely weaker than the rest." in even


def test_costs_and_the_operating_point_are_told(page_of, digits, quick):
    text = Outline(page_of(costs=COSTS)).section("costs")
    names = digits.class_names
    point = evaluation_of(
        digits.labels, digits.probabilities, names, quick, costs=COSTS
    ).operating_point
    assert f"decides otherwise for {point.changed} of 300 images" in text
    # The probabilities of this model are too low, so the decision of least cost is no better.
    assert point.saving.value < 0
    assert f"The second one costs {-point.saving.value:.3f} more for an image (95 %" in text
    three = int(point.most_probable.given[3]), int(point.least_cost.given[3])
    assert three[0] != three[1]
    assert f"3 {three[0]} → {three[1]}" in text
    assert "3 → 8 5 9 → 1 2.5" in text


@pytest.mark.parametrize(
    ("saving", "changed", "words"),
    [
        (
            Interval(0.2, 0.1, 0.3),
            4,
            "saves 0.200 for an image (95 % interval of the saving: 0",
        ),
        (Interval(0.2, -0.1, 0.3), 4, "to 0.300; it may be chance), and decides otherwise for 4"),
        (Interval(-0.2, -0.3, 0.1), 4, "costs 0.200 more for an image"),
        (Interval(-0.2, -0.3, -0.1), 4, "so the probabilities are not honest enough for it."),
        (Interval(0.0, -0.1, 0.1), 4, "The second one costs as much for an image (95 % interval"),
        (Interval(0.0, 0.0, 0.0), 0, "Here both decide alike for 300 images."),
    ],
)
def test_what_the_decision_of_least_cost_saves_is_not_overstated(
    digits, quick, saving, changed, words
):
    args = (digits.labels, digits.probabilities, digits.class_names)
    figures = evaluation_of(*args, quick, costs=COSTS)
    point = replace(figures.operating_point, saving=saving, changed=changed)
    about = material_of(*args, digits.images, COSTS)
    figures = replace(figures, operating_point=point)
    page = report(subject(args[2]), figures, HISTORY, EFFECT, about, NOTHING)
    text = Outline(page).section("costs")
    assert words in text
    assert ("not honest enough" in text) == (saving.high < 0)
    assert ("more for an image" in text) == (saving.value < 0)
    assert ("it may be chance" in text) == (saving.low < 0 < saving.high and saving.value != 0)


@pytest.mark.parametrize(
    ("predicted", "words"),
    [
        ([1, 0, 0, 1], "One of the most frequent confusions: bad is predicted as good."),
        ([1, 1, 0, 1], "Most often, bad is predicted as good."),
        ([1, 0, 1, 1], "Most often, bad is predicted as good."),
    ],
)
def test_the_most_frequent_confusion_is_one_of_several_if_they_are_as_frequent(
    quick, predicted, words
):
    probabilities = np.eye(2, dtype=np.float32)[predicted] * 0.8 + 0.1
    args = (np.array([0, 0, 1, 1]), probabilities, ("bad", "good"))
    about = material_of(*args, np.zeros((4, 8, 8, 3), np.uint8))
    page = report(subject(args[2]), evaluation_of(*args, quick), HISTORY, EFFECT, about, NOTHING)
    assert words in " ".join(Outline(page).text.split())


def test_two_classes_have_a_threshold(quick):
    labels, chances = np.arange(40) % 2, np.linspace(0.05, 0.95, 40, dtype=np.float32)
    probabilities = np.stack([1 - chances, chances], axis=1)
    costs = {"bad": {"good": 4.0}}
    args = (labels, probabilities, ("bad", "good"))
    figures = evaluation_of(*args, quick, costs=costs)
    about = material_of(*args, np.zeros((40, 8, 8, 3), np.uint8), costs)
    page = report(subject(args[2]), figures, HISTORY, EFFECT, about, NOTHING)
    text = Outline(page).section("costs")
    assert "decide for good from a probability of 0.800 on" in text
    assert "Top-" not in page  # Among two classes, three hold every label.


def test_each_corruption_has_a_chart_and_pictures_of_its_severities(page_of):
    page = page_of(robustness=CORRUPTED)
    text = Outline(page).section("corruptions")
    assert "100 test images" in text
    assert "the accuracy is 0.900, with one it is 0.500 on average" in text
    assert "severity 5: 0.500 (0.400–0.600)" in text
    strip = re.search(r'<div class="strip">(.*?)</div>', page, re.DOTALL)[1]
    uris = re.findall(r'src="([^"]+)"', strip)
    assert len(uris) == len(set(uris)) == 4


def test_up_to_six_classes_have_a_line_each_and_more_have_a_mean(page_of, digits):
    few = page_of(kept=digits.labels < 5)
    assert "mean of all classes" not in few
    text = Outline(page_of()).section("curves")
    assert "mean of all classes ROC AUC" in text
    assert text.count("ROC AUC 0.") == 6


def test_many_classes_slices_and_mistakes_give_a_bounded_page_that_says_what_is_left_out(
    digits, quick
):
    """1,000 classes, 100,000 mistakes on photographs; only the figures themselves are made up."""
    classes, images = 1_000, 100_000
    names = tuple(f"class {index}" for index in range(classes))
    labels = np.arange(images) % classes
    predicted = (labels + 1 + np.arange(images) // classes % 500) % classes
    figures = evaluation_of(digits.labels, digits.probabilities, digits.class_names, quick)
    share = counted_interval(1, 100, 0.95)
    pairs, counts = np.unique(np.stack([labels, predicted]), axis=1, return_counts=True)
    metrics = replace(
        figures.metrics,
        images=images,
        classes=tuple(ClassMetrics(name, 100, share, share, share, share) for name in names),
        confusion=dict(zip(map(tuple, pairs.T.tolist()), counts.tolist(), strict=True)),
    )
    weak = replace(figures.slices, slices=tuple(slices_of(2_000)))
    table = pd.DataFrame(
        {
            "image_id": [f"{number * 7919 % images:064x}" for number in range(images)],
            "path": [f"{number}.jpg" for number in range(images)],
            "label": [names[label] for label in labels],
            "label_index": labels,
            "predicted": [names[label] for label in predicted],
            "confidence": np.linspace(0.5, 1, images),
        }
    )
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    photographs = np.broadcast_to(noise, (images, 224, 224, 3))
    curves = {column: [0.0, 1.0] * 100 for column in ("fpr", "tpr", "recall", "precision")}
    lines = pd.DataFrame({"class": np.repeat(names[:100], 2), **curves})
    about = Material(table, photographs, lines, lines, {}, 24)
    page = report(
        subject(names),
        replace(figures, metrics=metrics, slices=weak),
        HISTORY,
        EFFECT,
        about,
        explained(about, 8),
    )
    assert len(page) < 15_000_000
    text = Outline(page).text
    assert f"{classes - CLASSES_SHOWN} classes are left out; classes.csv has all." in text
    assert f"{len(counts) - CONFUSIONS_ALONE:,} pairs are left out; confusion.csv has all." in text
    assert f"{2_000 - SHOWN:,} slices are left out; slices.csv has all." in text
    assert re.search(r"99,9\d\d mistakes are left out", text)
    assert "(over the 100 classes that have curves)" in text
    assert 'class="matrix' not in page


def slices_of(count):
    from components.evaluation.slices import Slice

    for number in range(count):
        yield Slice(
            f"s{number}", f"s{number}", 20, counted_interval(1, 20, 0.95), 0.1, 0.1, 1.0, False
        )
