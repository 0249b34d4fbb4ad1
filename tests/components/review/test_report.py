import re
from dataclasses import replace

import numpy as np
import pytest

from components.evaluation.comparison import Comparison
from components.evaluation.interval import UNDEFINED
from components.pages.interval_chart import interval_chart
from components.review.facts import worst_first
from components.review.pictures import NOTHING, Changed, Picture
from components.review.report import CLASSES_SHOWN, SLICES_SHOWN, _chart, register_report
from tests.components.pages.outline import Outline
from tests.components.review.judged import HOSTILE, TAGS, judged, model, row, weak

STORE = "http://mlflow.example.org:5000"


def picture(path, label="glass", counted=""):
    pixels = np.full((200, 200, 3), 90, np.uint8)
    return Picture(path, label, "glass", "paper", 0.9, counted, pixels)


CHANGED = Changed(30, 1, tuple(picture(f"{n}.png") for n in range(24)), (picture("x.png"),))


def page(about, changed=NOTHING, store=STORE):
    return register_report(about, changed, 1234, store)


def test_the_page_is_well_formed_and_needs_nothing_beside_it():
    text = page(judged(champion=model(1)), CHANGED)
    outline = Outline(text)
    assert outline.open == []
    assert "script" not in outline.tags
    assert "link" not in outline.tags
    sources = [link for link in outline.links if not link.startswith("data:image/jpeg;base64,")]
    assert sources == [f"{STORE}/#/models/digits/versions/2"]  # a link, which loads nothing
    assert not re.search(r"url\(|@import", text)
    assert text == page(judged(champion=model(1)), CHANGED)


def test_the_page_says_verdict_version_commit_and_its_date():
    text = Outline(page(judged(champion=model(1)))).text
    assert "promote: version 2 of digits – register report" in text
    assert "significantly better than the champion." in text
    assert "cccccccccccc of 2026-11-20" in " ".join(text.split())
    assert "1,234 images" in text


def test_the_ways_to_decide_come_before_everything_else_and_the_advised_one_first():
    text = page(judged(champion=model(1)))
    assert text.index('href="http://mlflow') < text.index("fovea promote 2 --reason")
    assert text.index("fovea promote 2 --reason") < text.index("fovea reject 2 --reason")
    assert text.index("fovea reject 2 --reason") < text.index('id="verdict"')
    about = judged(champion=model(1))
    bad = replace(about, verdict=replace(about.verdict, decision="reject"))
    text = page(bad, store="sqlite:///mlflow.db")
    assert text.index("fovea reject 2") < text.index("fovea promote 2 --override")
    assert "http://127.0.0.1:5000/#/models/digits/versions/2" in text
    assert "while <code>fovea ui</code> runs" in text


def test_figures_of_shared_classes_say_of_how_many_images_they_are():
    about = judged(("glass", "paper", "new"), model(1))
    rows = [
        replace(row, champion=None, difference=None) if row.class_name == "new" else row
        for row in about.verdict.comparison
    ]
    about = replace(about, verdict=replace(about.verdict, comparison=tuple(rows), images=90))
    section = Outline(page(about)).section("figures")
    assert "on 60 of 90 test images, which are those of the classes that both models" in section
    alike = Outline(page(judged(champion=model(1)))).section("figures")
    assert "intervals, on 60 test images." in alike
    # A champion that cannot be compared knows no class of the figures.
    assert "intervals, on 60 test images." in Outline(page(judged())).section("figures")


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("none", "1,234 images with different pixels. Test images"),
        ("imagenet", "those of ImageNet, from which its first weights come, are not counted."),
        ("7" * 64, "pixels, those of the model that it started from included."),
    ],
)
def test_images_that_were_seen_are_those_that_were_counted(start, words):
    about = judged(challenger=model(2, TAGS | {"started_from": start}))
    assert words in Outline(page(about)).section("seen")


@pytest.mark.parametrize("decision", ["promote", "hold", "reject"])
def test_hold_advises_neither_way(decision):
    about = judged(champion=model(1))
    text = page(replace(about, verdict=replace(about.verdict, decision=decision)))
    assert text.count("as the verdict advises") == (decision != "hold")


def test_the_figures_of_both_models_and_the_difference_are_beside_each_other():
    section = Outline(page(judged(champion=model(1)))).section("figures")
    assert "version 2 champion, version 1 difference" in section
    assert "0.900 (0.850 – 0.950) 0.800 (0.750 – 0.850) +0.100 (+0.050 – +0.150)" in section


def test_the_class_whose_recall_fell_most_comes_first_and_many_are_counted():
    names = [f"class {number:03}" for number in range(CLASSES_SHOWN + 2)]
    section = Outline(page(judged(names, model(1)))).section("classes")
    assert section.index(names[-1]) < section.index(names[-2]) < section.index(names[2])
    assert names[0] not in section
    assert "2 more classes with better results are left out" in section


def test_weak_slices_have_a_table_and_what_a_reader_must_know_of_them():
    slices = [weak("<b>"), *(weak(f"slice {number}") for number in range(SLICES_SHOWN + 1))]
    section = Outline(page(judged(slices=slices))).section("slices")
    assert "<b> (<b> at most 0.21) 40 0.500 (0.350 – 0.650) <0.001" in section
    assert "2 more slices left out; slices.csv has all. All slices and pairs of" in section
    none = Outline(page(judged(slices=[]))).section("slices")
    assert "No slice of the test images is surely weaker than the rest. All slices" in none
    assert "slices with at least 10 images were tested" in none
    assert 'id="slices"' not in page(judged())


def test_pictures_say_what_changed_and_how_many_are_left_out():
    outline = Outline(page(judged(champion=model(1)), CHANGED))
    assert "30 images lost, 1 image gained" in outline.section("changed")
    assert "6 more images are left out" in outline.section("worse")
    assert outline.section("worse").count("challenger: glass") == 24
    assert "All of them." in outline.section("better")
    gone = Changed(0, 1, (), (picture("x.png", counted="metal"),))
    assert (
        "champion: paper, counted as metal" in Outline(page(judged(champion=model(1)), gone)).text
    )


@pytest.mark.parametrize(
    ("about", "words"),
    [
        (judged(), "The classes with the lowest recall come first."),
        (judged(champion=replace(model(1), model_id=model(2).model_id)), "Nothing to decide"),
        (judged(challenger=model(None)), "dvc exp apply EXPERIMENT &amp;&amp; fovea register"),
        (judged(challenger=model(2, {})), "not recorded"),
    ],
    ids=["no champion", "the champion itself", "an experiment", "nothing known"],
)
def test_the_page_exists_in_every_case(about, words):
    text = page(about)
    assert Outline(text).open == []
    assert words in text
    assert "None" not in Outline(text).text


def test_a_champion_that_was_not_compared_is_named_without_figures():
    about = replace(judged(), champion=model(1))
    outline = Outline(page(about))
    assert "Nothing is compared with version 1; the verdict says why" in outline.section("figures")
    assert "difference" not in outline.section("figures")


def test_a_verdict_without_any_figure_is_shown():
    about = judged(reasons=["the challenger's probabilities are NaN"])
    broken = replace(about, verdict=replace(about.verdict, comparison=(), decision="reject"))
    assert "probabilities are NaN" in Outline(page(broken)).section("verdict")


def test_hostile_names_are_text():
    reasons = [f"recall of {name} dropped" for name in HOSTILE]
    about = judged(HOSTILE, model(1), reasons=reasons)
    lost = tuple(picture(f"{name}.png", name) for name in HOSTILE)
    text = page(about, Changed(len(lost), 0, lost, ()))
    outline = Outline(text)
    assert outline.open == []
    assert "script" not in outline.tags
    assert all(link.startswith(("data:", STORE)) for link in outline.links)
    assert "\u202e" not in text
    assert "two\\nlines" in outline.text
    assert "שלום" in outline.names


def test_the_lineage_names_what_differs():
    newer = model(2, TAGS, **{"model.dropout": "0.4"})
    section = Outline(page(judged(champion=model(1, **{"model.dropout": "0.2"}), challenger=newer)))
    assert "model.dropout: 0.4 (version 1: 0.2)" in section.section("lineage")


def test_classes_that_fell_come_before_new_ones_those_that_rose_and_those_without_images():
    rows = [
        row("recall", "rose", 0.9, 0.8),
        Comparison("recall", "empty", UNDEFINED, None, None),
        row("recall", "new", 0.1, None),
        row("recall", "fell", 0.7, 0.8),
        row("accuracy", None, 0.9, 0.8),
    ]
    assert [each.class_name for each in worst_first(rows)] == ["fell", "new", "rose", "empty"]
    assert [each.class_name for each in worst_first(rows[1:3])] == ["new", "empty"]


def test_the_chart_of_differences_goes_from_the_lower_to_the_higher_end():
    chart = Outline(page(judged(champion=model(1)))).section("figures")
    assert "+0.100 (+0.050 – +0.150)" in chart
    drawn = _chart(judged(champion=model(1)))
    assert drawn == interval_chart(
        "challenger minus champion",
        dict.fromkeys(["accuracy", "balanced accuracy"], (0.05, 0.1, 0.15)),
    )
