import base64
import io
import re

import numpy as np
import pandas as pd
import pytest

from components.calibration.effect import Effect
from components.calibration.scores import Bin, Calibration, calibration
from components.evaluation.metrics import measure
from components.evaluation.predictions import Mistake, confident_mistakes, predictions
from components.evaluation.report import Subject, report
from tests.components.pages.outline import Outline

HISTORY = pd.DataFrame(
    {
        "phase": ["head", "head", "finetune"],
        "epoch": [1, 2, 3],
        "loss": [2.0, 1.0, float("nan")],
        "accuracy": [0.2, 0.5, 0.8],
        "val_loss": [1.5, 1.0, 0.5],
        "val_accuracy": [0.3, 0.6, 0.9],
    }
)
BEFORE = Calibration(0.25, 0.7, 0.4, (Bin(30, 0.55, 0.8), Bin(10, 0.9, 1.0)))
AFTER = Calibration(0.02, 0.5, 0.3, (Bin(40, 0.83, 0.85),))
EFFECT = Effect(0.5, 40, BEFORE, AFTER, ("val has no <mistake>",))


@pytest.fixture
def page_of(digits, quick):
    def page(names=digits.class_names, history=HISTORY, kept=slice(None)):
        labels, probabilities = digits.labels[kept], digits.probabilities[kept]
        metrics = measure(labels, probabilities, names, quick, 1)
        counts = {"train": {names[0]: 1400}, "val": {names[0]: 97}, "test": {names[0]: 300}}
        subject = Subject("compact", 8, 12_345, counts, "a1" * 32, "b2" * 32)
        predicted = predictions(rows_of(labels, names), probabilities, names)
        mistakes = confident_mistakes(predicted, digits.images[kept], 5)
        return report(subject, metrics, history, EFFECT, mistakes)

    return page


def rows_of(labels, names):
    numbers = range(len(labels))
    return pd.DataFrame(
        {
            "image_id": [f"{number:064x}" for number in numbers],
            "path": [
                f"{names[label]}/{n:04}.png" for n, label in zip(numbers, labels, strict=True)
            ],
            "label": [names[label] for label in labels],
            "label_index": labels,
        }
    )


def test_the_page_is_well_formed_and_needs_nothing_beside_it(page_of):
    page = page_of()
    outline = Outline(page)
    assert outline.open == []
    assert "script" not in outline.tags
    assert "link" not in outline.tags
    assert outline.links
    assert all(link.startswith("data:image/png;base64,") for link in outline.links)
    assert not re.search(r"url\(|@import|https?:", page)


def test_the_title_says_model_and_data(page_of):
    title = "compact, model a1a1a1a1a1a1, on data b2b2b2b2b2b2 – test report"
    assert f"<title>{title}</title>" in page_of()


def test_names_of_classes_and_files_are_escaped(page_of):
    names = ("<b>", '"><script>alert(1)</script>', *"23456789")
    page = page_of(names)
    outline = Outline(page)
    assert outline.open == []
    assert "script" not in outline.tags
    assert "&lt;b&gt;" in page
    assert "<b>/" in outline.text or '"><script>' in outline.text


def test_equal_arguments_give_equal_bytes(page_of):
    assert page_of() == page_of()


def test_a_class_without_test_images_is_shown_without_figures(page_of, digits):
    text = Outline(page_of(kept=digits.labels != 4)).text
    assert re.search(r"\b4\s+0\s+–\s+–\s+–\s+–\s+5\b", text)


def test_the_table_tells_the_same_as_the_metrics(page_of, digits, quick):
    metrics = measure(digits.labels, digits.probabilities, digits.class_names, quick, 1)
    text = Outline(page_of()).text
    assert f"95 % interval {metrics.macro_f1.low:.3f}–{metrics.macro_f1.high:.3f}" in text
    for found in metrics.classes:
        figures = (found.precision, found.recall, found.f1, found.roc_auc)
        ends = ("" if one.low is None else f"{one.low:.3f}–{one.high:.3f}" for one in figures)
        cells = (rf"{one.value:.3f}{of}\s+" for one, of in zip(figures, ends, strict=True))
        assert re.search(rf"\b{found.name}\s+{found.support}\s+{''.join(cells)}", text)


def test_history_marks_phases_and_survives_an_epoch_that_diverged(page_of):
    outline = Outline(page_of())
    assert "fine-tune" in outline.text
    assert outline.tags.count("polyline") == 4 + 3  # three curves of reliability
    assert "nan" not in page_of()


def test_the_temperature_and_what_it_changed_are_shown(page_of, digits):
    page = page_of()
    text = Outline(page).section("calibration")
    assert "a temperature of 0.5, which was fitted on 40 val images." in text
    assert "Note: val has no <mistake>." in text
    assert "val, before 0.250 0.700 0.400 val, after 0.020 0.500 0.300 test, after" in text
    measured = calibration(digits.labels, digits.probabilities)
    assert f"test, after {measured.ece:.3f} {measured.nll:.3f} {measured.brier:.3f}" in text
    # The diagram is 260 units wide from 44 and high from 290: 0.55 and 0.8 are at 187 and 82.
    assert '<circle class="before" cx="187.0" cy="82.0" r="12.1">' in page
    assert "confidence 0.550, accuracy 0.800, 30 images" in page
    assert 'points="187.0,82.0 278.0,30.0"' in page


@pytest.mark.parametrize("rows", [0, 1])
def test_a_short_history_is_no_problem(page_of, rows):
    assert Outline(page_of(history=HISTORY.head(rows))).tags.count("svg") == 2 * rows + 2


def test_one_hundred_classes_are_listed_without_a_matrix(quick):
    generator = np.random.default_rng(0)
    names = tuple(f"class {index}" for index in range(100))
    labels = np.arange(400) % 100
    metrics = measure(labels, generator.random((400, 100)), names, quick, 1)
    counts = {split: {"class 0": 1} for split in ("train", "val", "test")}
    outline = Outline(report(Subject("big", 8, 1, counts, "a", "b"), metrics, HISTORY, EFFECT, []))
    assert outline.open == []
    assert outline.tags.count("table") == 2  # classes, calibration


def test_pictures_hold_the_very_pixels(quick, digits):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    metrics = measure(digits.labels, digits.probabilities, digits.class_names, quick, 1)
    counts = {split: {"0": 1} for split in ("train", "val", "test")}
    subject = Subject("compact", 8, 1, counts, "a", "b")
    page = report(subject, metrics, HISTORY, EFFECT, [Mistake("0/a.png", "0", "1", 0.9, pixels)])
    content = base64.b64decode(re.search(r"base64,([^\"]+)", page)[1])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), pixels)
